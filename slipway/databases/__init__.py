"""The databases of services: one protocol, and one package per database system."""
