"""The tests. They are a package because another distribution (sniffpy, required by httplint) installs a `tests` package too."""
