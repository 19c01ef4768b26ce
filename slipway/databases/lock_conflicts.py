"""Which locks of a table exclude each other, and which of a migration's locks are worth waiting for. Pure.

The table is that of the manual (PostgreSQL 18, section 13.3.1, "Conflicting Lock Modes").
"""

from __future__ import annotations

from collections.abc import Sequence

from slipway.databases.catalog import LockMode, Statement, strength

# From which mode on, in their order of strength, others are excluded. SHARE alone does not exclude itself.
_FROM: dict[LockMode, LockMode] = {
    "ACCESS SHARE": "ACCESS EXCLUSIVE",
    "ROW SHARE": "EXCLUSIVE",
    "ROW EXCLUSIVE": "SHARE",
    "SHARE UPDATE EXCLUSIVE": "SHARE UPDATE EXCLUSIVE",
    "SHARE": "ROW EXCLUSIVE",
    "SHARE ROW EXCLUSIVE": "ROW EXCLUSIVE",
    "EXCLUSIVE": "ROW SHARE",
    "ACCESS EXCLUSIVE": "ACCESS SHARE",
}


def conflict(one: LockMode, other: LockMode) -> bool:
    """Whether two sessions cannot have these locks of one table at once."""
    return strength(other) >= strength(_FROM[one]) and not one == other == "SHARE"


def wanted_locks(statements: Sequence[Statement]) -> dict[str, LockMode]:
    """The strongest lock that a migration takes of each table, where it keeps readers or writers out.

    Behind who waits for a weaker one nobody has to wait but other migrations.
    """
    wanted: dict[str, LockMode] = {}
    for lock in (lock for statement in statements for lock in statement.locks):
        if strength(lock.mode) >= max(strength("SHARE"), strength(wanted.get(lock.table, "SHARE"))):
            wanted[lock.table] = lock.mode
    return wanted
