"""The audit of a service: a checklist that changes nothing."""
