"""Which locks exclude each other, and which of a migration's are worth waiting for."""

from __future__ import annotations

import itertools

from slipway.catalogue import LOCK_MODES, Lock, LockMode, Statement
from slipway.rules.conflicts import conflict, wanted_locks


def test_conflicts_are_mutual() -> None:
    """Whoever excludes another is excluded by it; the weakest and the strongest are as everybody knows them."""
    for one, other in itertools.product(LOCK_MODES, repeat=2):
        assert conflict(one, other) == conflict(other, one), (one, other)
    assert [mode for mode in LOCK_MODES if conflict("ACCESS SHARE", mode)] == ["ACCESS EXCLUSIVE"]
    assert all(conflict("ACCESS EXCLUSIVE", mode) for mode in LOCK_MODES)
    assert not conflict("SHARE", "SHARE") and conflict("SHARE", "ROW EXCLUSIVE")
    assert not conflict("SHARE UPDATE EXCLUSIVE", "ROW EXCLUSIVE")


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
