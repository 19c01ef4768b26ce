"""Changing rows in batches."""
