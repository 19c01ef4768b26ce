"""The JSON API of the admin service, with one module per resource."""
