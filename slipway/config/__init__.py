"""The files that users write: services, changes, backfills. An error reports every mistake with its place."""
