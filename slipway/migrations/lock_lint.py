"""Find statements of a migration that block a live service: strong locks held for long, and table rewrites. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from slipway.core.finding import Finding
from slipway.databases.catalog import LARGE_ROWS, Lock, LockMode, Statement, TableSize, strength
from slipway.databases.sizes import format_rows, large_tables

HELD_S = 1.0  # users notice a longer wait
SHOWN_SQL = 120
BLOCKS: dict[LockMode, str] = {
    "SHARE": "all writes to the table, but no reads",
    "SHARE ROW EXCLUSIVE": "all writes to the table, but no reads",
    "EXCLUSIVE": "all writes to the table, but no reads",
    "ACCESS EXCLUSIVE": "all reads and writes of the table",
}
QUEUES = (
    "On the live database the statement also waits for running transactions, and later queries wait for it (manual, "
    '"Table-Level Locks"). Set a short lock_timeout, build indexes CONCURRENTLY, and do long work under a weaker lock.'
)
REWRITES = (
    "The server writes the table and its indexes to new files under an ACCESS EXCLUSIVE lock, and needs the same disk space "
    "again. If the service must stay available, add a new column, fill it in batches, and swap the columns."
)


def lock_findings(
    statements: Sequence[Statement],
    tables: Sequence[TableSize],
    *,
    large_rows: int = LARGE_ROWS,
    held_s: float = HELD_S,
) -> tuple[Finding, ...]:
    """Return a finding for each lock that blocks a large table for longer than `held_s` seconds, in statement order.

    `tables` are the tables before the migration: no other session uses a new table yet.
    """
    large = large_tables(tables, large_rows)
    return tuple(
        _held(statement, lock, large[lock.table])
        for statement in statements
        for lock in statement.locks
        if lock.table in large and lock.held_s > held_s and strength(lock.mode) >= strength("SHARE")
    )


def rewrite_findings(
    rewritten: Sequence[str], tables: Sequence[TableSize], *, large_rows: int = LARGE_ROWS
) -> tuple[Finding, ...]:
    """Return a finding for each table that the migration rewrote: a warning for a large table, otherwise an info."""
    rows = {table.table: table.rows for table in tables}
    return tuple(
        Finding(
            code="table-rewrite",
            level="warning" if rows.get(table, 0) >= large_rows else "info",
            summary=f"The migration rewrites the whole table {table} ({format_rows(rows.get(table, 0))}).",
            explanation=REWRITES,
        )
        for table in rewritten
    )


def _held(statement: Statement, lock: Lock, rows: int) -> Finding:
    sql = " ".join(statement.sql.split())
    shown = sql if len(sql) <= SHOWN_SQL else f"{sql[:SHOWN_SQL]}…"
    return Finding(
        code="lock-held",
        level="warning",
        summary=(
            f"{lock.mode} on {lock.table} ({format_rows(rows)}) was held for {lock.held_s:.1f} s and blocks "
            f"{BLOCKS[lock.mode]}: {shown}"
        ),
        explanation=QUEUES,
    )
