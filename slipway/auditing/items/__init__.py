"""The items of an audit, one file per topic."""
