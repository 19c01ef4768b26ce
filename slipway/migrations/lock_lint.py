"""Which statements of a migration make a live service wait: strong locks held long, and tables written anew. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from slipway.core.finding import Finding
from slipway.databases.catalog import LARGE_ROWS, Lock, LockMode, Statement, TableSize, strength
from slipway.databases.sizes import large_tables, rows_in_words

HELD_S = 1.0  # longer than this, whoever waits notices
SHOWN_SQL = 120
BLOCKS: dict[LockMode, str] = {
    "SHARE": "every write to it, and no read",
    "SHARE ROW EXCLUSIVE": "every write to it, and no read",
    "EXCLUSIVE": "every write to it, and no read",
    "ACCESS EXCLUSIVE": "every read and every write of it",
}
QUEUES = (
    "On the live database it also waits for what runs there, and all that comes after it waits behind it (manual, "
    '"Table-Level Locks"). Set a short lock_timeout, build indexes CONCURRENTLY, and do long work under a weaker lock.'
)
REWRITES = (
    "The table and its indexes are written to new files under an ACCESS EXCLUSIVE lock, and need as much room again. Add a "
    "new column, fill it in batches, and swap, where the service has to go on."
)


def lock_findings(
    statements: Sequence[Statement],
    tables: Sequence[TableSize],
    *,
    large_rows: int = LARGE_ROWS,
    held_s: float = HELD_S,
) -> tuple[Finding, ...]:
    """The locks that block reads or writes of a large table for longer than `held_s` seconds, statement by statement.

    `tables` are those of before the migration: what it makes nobody else uses yet.
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
    """The tables that the migration wrote to new files: a warning for a large one, otherwise an information."""
    rows = {table.table: table.rows for table in tables}
    return tuple(
        Finding(
            code="table-rewrite",
            level="warning" if rows.get(table, 0) >= large_rows else "info",
            summary=f"The migration writes the whole table {table} anew ({rows_in_words(rows.get(table, 0))}).",
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
            f"{lock.mode} on {lock.table} ({rows_in_words(rows)}) was held for {lock.held_s:.1f} s and blocks "
            f"{BLOCKS[lock.mode]}: {shown}"
        ),
        explanation=QUEUES,
    )
