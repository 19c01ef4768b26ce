"""The databases of services: one protocol, one package for each kind."""
