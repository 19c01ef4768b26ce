"""A package by this file: `sniffpy`, which httplint needs, installs a `tests` of its own, and that would win without it."""
