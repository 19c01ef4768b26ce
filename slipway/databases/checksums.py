"""What the tables of a database hold, as sums that two moments can be compared by."""

from __future__ import annotations

from slipway.core.frozen import FrozenModel


class ColumnSum(FrozenModel):
    """One column: how many of its values are not null, and a sum over hashes of value and row that no order changes."""

    name: str
    present: int
    checksum: str


class TableContents(FrozenModel):
    """One table, as `schema.name` where the database has schemas, and what it holds."""

    table: str
    rows: int
    columns: tuple[ColumnSum, ...]


class Snapshot(FrozenModel):
    """A database at one moment: its schema as text, and its tables."""

    schema_text: str
    tables: tuple[TableContents, ...]
