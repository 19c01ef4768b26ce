"""A Prefect worker that starts flow runs in processes forked from a warm parent, and resumes those that crashed."""
