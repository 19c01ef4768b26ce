"""Rehearsing and running the migrations of a service with its own tool."""
