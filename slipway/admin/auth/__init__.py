"""Authentication and authorisation of requests. Both happen before a request reaches an endpoint."""
