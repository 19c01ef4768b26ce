"""Locks that make a live service wait, and tables that are written anew."""

from __future__ import annotations

import pytest

from slipway.databases.catalog import LOCK_MODES, Lock, LockMode, Statement, TableSize
from slipway.migrations.lock_lint import lock_findings, rewrite_findings

TABLES = tuple(
    TableSize(table=name, rows=rows, bytes=0, table_bytes=0, index_bytes=0)
    for name, rows in (("big", 1_000_000), ("small", 500))
)


def statement(mode: LockMode, held_s: float, table: str = "big") -> Statement:
    """A statement that took one lock."""
    lock = Lock(table=table, mode=mode, held_s=held_s)
    return Statement(sql="ALTER  TABLE big\n ADD x int", seconds=0.01, locks=(lock,))


@pytest.mark.parametrize("mode", LOCK_MODES)
def test_which_locks_block(mode: LockMode) -> None:
    """From SHARE on a lock keeps writers out; the weaker ones keep nobody out but other migrations."""
    blocks = mode in ("SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE")
    found = lock_findings([statement(mode, 1.5)], TABLES)
    assert [(each.code, each.level) for each in found] == [("lock-held", "warning")] * blocks


def test_the_words() -> None:
    """What is locked, how large it is, for how long, what waits, and for which statement."""
    [reads] = lock_findings([statement("ACCESS EXCLUSIVE", 12.34)], TABLES)
    assert reads.summary == (
        "ACCESS EXCLUSIVE on big (1.0 M rows) was held for 12.3 s and blocks every read and every write of it: "
        "ALTER TABLE big ADD x int"
    )
    [writes] = lock_findings([statement("SHARE", 2)], TABLES)
    assert "held for 2.0 s and blocks every write to it, and no read: " in writes.summary


@pytest.mark.parametrize(
    ("held_s", "table"), [(1.0, "big"), (0.01, "big"), (60.0, "small"), (60.0, "made_by_the_migration")]
)
def test_nobody_waits_long(held_s: float, table: str) -> None:
    """Short locks, small tables and new ones are no findings."""
    assert lock_findings([statement("ACCESS EXCLUSIVE", held_s, table)], TABLES) == ()


def test_each_statement_and_table() -> None:
    """Every lock is a finding of its own."""
    one, two = statement("SHARE", 2), statement("EXCLUSIVE", 3)
    assert len(lock_findings([one, two], TABLES)) == 2
    assert lock_findings([], TABLES) == ()


def test_rewrites() -> None:
    """A large table that is written anew is a warning, a small one is told."""
    large, small = rewrite_findings(["big", "small"], TABLES)
    assert (large.code, large.level) == ("table-rewrite", "warning")
    assert large.summary == "The migration writes the whole table big anew (1.0 M rows)."
    assert (small.level, small.summary) == ("info", "The migration writes the whole table small anew (500 rows).")
