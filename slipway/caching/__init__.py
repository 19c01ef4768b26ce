"""Cache headers, and purges that are verified by reading."""
