"""The files that people write: services, changes, backfills. Every mistake in them is reported with its place."""
