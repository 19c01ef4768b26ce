"""Rehearse and run the migrations of a service with the service's own migration tool."""
