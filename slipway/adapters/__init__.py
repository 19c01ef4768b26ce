"""All I/O of the core: databases, caches, HTTP, subprocesses, files."""
