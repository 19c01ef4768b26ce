"""Which locks exclude each other, and which of a migration's are worth waiting for."""

from __future__ import annotations

from slipway.databases.catalog import LOCK_MODES, Lock, LockMode, Statement
from slipway.databases.lock_conflicts import conflict, wanted_locks

# The manual's table: a row a mode, an x for each mode that it excludes, in the order of LOCK_MODES.
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


def test_conflicts_are_those_of_the_manual() -> None:
    """Every pair of modes, as the manual's table has it."""
    rows = ["".join("x" if conflict(one, other) else "." for other in LOCK_MODES) for one in LOCK_MODES]
    assert rows == TABLE.split()


def ran(*locks: tuple[str, LockMode]) -> Statement:
    """A statement with its locks."""
    return Statement(sql="…", seconds=0, locks=tuple(Lock(table=table, mode=mode, held_s=0) for table, mode in locks))


def test_the_strongest_of_each_table() -> None:
    """What keeps readers or writers out, whatever came first; the weaker ones keep nobody waiting."""
    statements = [
        ran(("orders", "SHARE"), ("customer", "ROW EXCLUSIVE")),
        ran(("orders", "ACCESS EXCLUSIVE"), ("sales.items", "SHARE UPDATE EXCLUSIVE")),
        ran(("orders", "SHARE ROW EXCLUSIVE"), ("product", "SHARE")),
    ]
    assert wanted_locks(statements) == {"orders": "ACCESS EXCLUSIVE", "product": "SHARE"}
    assert wanted_locks([]) == {}
