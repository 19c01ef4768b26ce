"""The items of an audit, one file each."""
