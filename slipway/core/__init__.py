"""Errors, findings, settings, frozen models, TOML files. It imports no other part of Slipway."""
