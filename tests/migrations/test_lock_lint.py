"""Locks that block a live service, and table rewrites."""

from __future__ import annotations

import pytest

from slipway.databases.catalog import LOCK_MODES, Lock, LockMode, Statement, TableSize
from slipway.migrations.lock_lint import lock_findings, rewrite_findings

TABLES = tuple(
    TableSize(table=name, rows=rows, bytes=0, table_bytes=0, index_bytes=0)
    for name, rows in (("big", 1_000_000), ("small", 500))
)


def statement(mode: LockMode, held_s: float, table: str = "big") -> Statement:
    """Return a statement that took one lock."""
    lock = Lock(table=table, mode=mode, held_s=held_s)
    return Statement(sql="ALTER  TABLE big\n ADD x int", seconds=0.01, locks=(lock,))


@pytest.mark.parametrize("mode", LOCK_MODES)
def test_only_strong_locks_are_findings(mode: LockMode) -> None:
    """SHARE and stronger locks block writers; weaker locks block only other migrations."""
    blocks = mode in ("SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE")
    findings = lock_findings([statement(mode, 1.5)], TABLES)
    assert [(finding.code, finding.level) for finding in findings] == [("lock-held", "warning")] * blocks


def test_a_finding_names_lock_table_size_time_and_statement() -> None:
    """The summary names the lock, the table and its size, the time, what waits, and the statement."""
    [reads] = lock_findings([statement("ACCESS EXCLUSIVE", 12.34)], TABLES)
    assert reads.summary == (
        "ACCESS EXCLUSIVE on big (1.0 M rows) was held for 12.3 s and blocks all reads and writes of the table: "
        "ALTER TABLE big ADD x int"
    )
    [writes] = lock_findings([statement("SHARE", 2)], TABLES)
    assert "held for 2.0 s and blocks all writes to the table, but no reads: " in writes.summary


@pytest.mark.parametrize(
    ("held_s", "table"), [(1.0, "big"), (0.01, "big"), (60.0, "small"), (60.0, "made_by_the_migration")]
)
def test_short_locks_and_small_tables_are_no_findings(held_s: float, table: str) -> None:
    """Short locks, and locks on small or new tables, are no findings."""
    assert lock_findings([statement("ACCESS EXCLUSIVE", held_s, table)], TABLES) == ()


def test_every_lock_is_its_own_finding() -> None:
    """Two statements with a lock each are two findings."""
    first, second = statement("SHARE", 2), statement("EXCLUSIVE", 3)
    assert len(lock_findings([first, second], TABLES)) == 2
    assert lock_findings([], TABLES) == ()


def test_a_rewrite_of_a_large_table_is_a_warning() -> None:
    """The rewrite of a large table is a warning, that of a small table an info."""
    large, small = rewrite_findings(["big", "small"], TABLES)
    assert (large.code, large.level) == ("table-rewrite", "warning")
    assert large.summary == "The migration rewrites the whole table big (1.0 M rows)."
    assert (small.level, small.summary) == ("info", "The migration rewrites the whole table small (500 rows).")
