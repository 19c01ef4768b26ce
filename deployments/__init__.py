"""The embedded stack, the deployment of the jobs, and the worker."""
