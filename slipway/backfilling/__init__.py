"""Change the rows of a table in batches."""
