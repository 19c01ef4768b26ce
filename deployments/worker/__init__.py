"""A Prefect worker that starts flow runs in children of a fork server, and resumes crashed runs."""
