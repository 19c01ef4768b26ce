"""The tests. A package of its own name: a distribution (sniffpy, by httplint) installs another `tests` beside ours."""
