"""Row counts and checksums of a database's tables, for comparing two points in time."""

from __future__ import annotations

from slipway.core.frozen import FrozenModel


class ColumnSum(FrozenModel):
    """A column: the number of values that are not null, and a sum of hashes that does not depend on the order of the rows."""

    name: str
    present: int
    checksum: str


class TableContents(FrozenModel):
    """The contents of a table. Its name is `schema.name` where the database has schemas."""

    table: str
    rows: int
    columns: tuple[ColumnSum, ...]


class Snapshot(FrozenModel):
    """The state of a database at one point in time: its schema as text, and its tables."""

    schema_text: str
    tables: tuple[TableContents, ...]
