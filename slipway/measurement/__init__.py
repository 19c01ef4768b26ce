"""Measuring a service over HTTP, and judging what was measured."""
