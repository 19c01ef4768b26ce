"""Durable steps, one per file. A step adds only retries and persistence; the packages of `slipway` do the work."""
