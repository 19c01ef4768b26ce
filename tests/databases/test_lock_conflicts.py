"""Conflicts between lock modes, and the blocking locks of a migration."""

from __future__ import annotations

from slipway.databases.catalog import LOCK_MODES, Lock, LockMode, Statement
from slipway.databases.lock_conflicts import blocking_locks, conflict

# The manual's table: one row per mode, with an x for each conflicting mode, in the order of LOCK_MODES.
TABLE = """
.......x
......xx
....xxxx
...xxxxx
..xx.xxx
..xxxxxx
.xxxxxxx
xxxxxxxx
"""


def test_conflicts_match_the_manual() -> None:
    """Every pair of modes has the result of the manual's table."""
    rows = ["".join("x" if conflict(first, second) else "." for second in LOCK_MODES) for first in LOCK_MODES]
    assert rows == TABLE.split()


def statement_with(*locks: tuple[str, LockMode]) -> Statement:
    """Return a statement with these locks."""
    return Statement(sql="…", seconds=0, locks=tuple(Lock(table=table, mode=mode, held_s=0) for table, mode in locks))


def test_blocking_locks_are_the_strongest_of_each_table() -> None:
    """Only locks that block readers or writers count, in any order of the statements."""
    statements = [
        statement_with(("orders", "SHARE"), ("customer", "ROW EXCLUSIVE")),
        statement_with(("orders", "ACCESS EXCLUSIVE"), ("sales.items", "SHARE UPDATE EXCLUSIVE")),
        statement_with(("orders", "SHARE ROW EXCLUSIVE"), ("product", "SHARE")),
    ]
    assert blocking_locks(statements) == {"orders": "ACCESS EXCLUSIVE", "product": "SHARE"}
    assert blocking_locks([]) == {}
