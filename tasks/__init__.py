"""Durable steps, one a file, thin: retry policy and persistence, nothing else. What a step does stands in `slipway/steps`."""
