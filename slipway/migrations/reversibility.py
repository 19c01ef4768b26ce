"""Compare schema and rows before an upgrade and after its downgrade, and list what was not restored. Pure."""

from __future__ import annotations

import difflib

from slipway.databases.checksums import Snapshot, TableContents
from slipway.databases.database import VERSION_TABLES
from slipway.migrations.outcomes import Reversibility

SHOWN_LINES = 40


def judge_downgrade(before: Snapshot, changed: Snapshot, after: Snapshot) -> tuple[Reversibility, tuple[str, ...]]:
    """Return the reversibility of a downgrade, and a description of each difference.

    The snapshots are `before` the upgrade, `changed` by the upgrade, and `after` the downgrade. Any difference in schema
    or rows is a loss. A downgrade that leaves everything as after the upgrade "does nothing". The tables of `changed`
    are compared only if the upgrade did not change the schema.
    """
    losses = (*schema_differences(before.schema_text, after.schema_text), *row_differences(before.tables, after.tables))
    if not losses:
        return "lossless", ()
    schema_changed = changed.schema_text != before.schema_text
    untouched = after.schema_text == changed.schema_text and (schema_changed or _data(after) == _data(changed))
    return ("does nothing" if untouched else "lossy"), losses


def _data(snapshot: Snapshot) -> list[TableContents]:
    """Return all tables except the version tables of migration tools: even an empty migration changes these."""
    return [table for table in snapshot.tables if table.table.rpartition(".")[2] not in VERSION_TABLES]


def schema_differences(before: str, after: str) -> tuple[str, ...]:
    """Return the lines that differ between two schemas: `-` for removed, `+` for added, at most SHOWN_LINES."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
    return tuple(line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---"))[:SHOWN_LINES]


def row_differences(before: tuple[TableContents, ...], after: tuple[TableContents, ...]) -> tuple[str, ...]:
    """Describe the differences in rows. A table or column that is missing on one side is a difference of the schema."""
    later = {table.table: table for table in after}
    return tuple(line for table in before if table.table in later for line in _table(table, later[table.table]))


def _table(before: TableContents, after: TableContents) -> list[str]:
    if before.rows != after.rows:
        return [f"{before.table}: {before.rows} rows before, {after.rows} after"]
    later = {column.name: column for column in after.columns}
    lines = []
    for column in before.columns:
        now = later.get(column.name)
        if now is None or now.checksum == column.checksum:
            continue
        if now.present != column.present:
            lines.append(f"{before.table}.{column.name}: {column.present} values before, {now.present} after")
        else:
            lines.append(f"{before.table}.{column.name}: values differ, {column.present} in {before.rows} rows")
    return lines
