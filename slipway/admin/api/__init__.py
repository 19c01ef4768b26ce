"""The requests that the service answers in JSON, a file for each kind of thing."""
