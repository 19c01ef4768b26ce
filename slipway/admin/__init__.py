"""The admin service: it triggers jobs and reads their state; it never works. It imports no flow and no task."""
