"""What each step does, without Prefect: look, act, look again. `tasks/` makes them durable, `flows/` puts them in order."""
