"""Whether the way back brings everything back: schema, rows, and in which places it does not. Pure."""

from __future__ import annotations

import difflib

from slipway.databases.checksums import Snapshot, TableContents
from slipway.databases.database import VERSION_TABLES
from slipway.migrations.outcomes import Reversibility

SHOWN_LINES = 40


def judge_way_back(before: Snapshot, changed: Snapshot, after: Snapshot) -> tuple[Reversibility, tuple[str, ...]]:
    """What a downgrade is worth, and what is not as it was, in words.

    `before` the upgrade, `changed` by it, `after` the downgrade. A schema or rows that differ are a loss; a downgrade
    that leaves everything as the upgrade made it does nothing. The tables of `changed` are looked at only when the
    upgrade has left the schema alone.
    """
    lost = (*schema_differences(before.schema_text, after.schema_text), *row_differences(before.tables, after.tables))
    if not lost:
        return "lossless", ()
    moved_schema = changed.schema_text != before.schema_text
    untouched = after.schema_text == changed.schema_text and (moved_schema or _data(after) == _data(changed))
    return ("does nothing" if untouched else "lossy"), lost


def _data(snapshot: Snapshot) -> list[TableContents]:
    """The tables but for those in which a tool writes down where the database stands: a `pass` moves these."""
    return [table for table in snapshot.tables if table.table.rpartition(".")[2] not in VERSION_TABLES]


def schema_differences(before: str, after: str) -> tuple[str, ...]:
    """The lines by which two schemas differ, `-` for what is gone and `+` for what is there instead."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
    return tuple(line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---"))[:SHOWN_LINES]


def row_differences(before: tuple[TableContents, ...], after: tuple[TableContents, ...]) -> tuple[str, ...]:
    """Where the rows of two moments differ, in words; a table or column that is not in both is the schema's difference."""
    later = {table.table: table for table in after}
    return tuple(words for table in before if table.table in later for words in _table(table, later[table.table]))


def _table(before: TableContents, after: TableContents) -> list[str]:
    if before.rows != after.rows:
        return [f"{before.table}: {before.rows} rows before, {after.rows} after"]
    later = {column.name: column for column in after.columns}
    found = []
    for column in before.columns:
        now = later.get(column.name)
        if now is None or now.checksum == column.checksum:
            continue
        if now.present != column.present:
            found.append(f"{before.table}.{column.name}: {column.present} values before, {now.present} after")
        else:
            found.append(f"{before.table}.{column.name}: values differ, {column.present} in {before.rows} rows")
    return found
