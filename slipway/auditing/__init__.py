"""The audit of a service: a checklist that does not change the service."""
