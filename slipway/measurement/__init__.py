"""Measure a service over HTTP and judge the measurements."""
