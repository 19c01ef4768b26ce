"""Conflicts between lock modes, and the locks of a migration that block readers or writers. Pure.

Source of the conflicts: PostgreSQL 18 manual, section 13.3.1, "Conflicting Lock Modes".
"""

from __future__ import annotations

from collections.abc import Sequence

from slipway.databases.catalog import LockMode, Statement, strength

# Each mode conflicts with this mode and every stronger one. Exception: SHARE does not conflict with itself.
_WEAKEST_CONFLICT: dict[LockMode, LockMode] = {
    "ACCESS SHARE": "ACCESS EXCLUSIVE",
    "ROW SHARE": "EXCLUSIVE",
    "ROW EXCLUSIVE": "SHARE",
    "SHARE UPDATE EXCLUSIVE": "SHARE UPDATE EXCLUSIVE",
    "SHARE": "ROW EXCLUSIVE",
    "SHARE ROW EXCLUSIVE": "ROW EXCLUSIVE",
    "EXCLUSIVE": "ROW SHARE",
    "ACCESS EXCLUSIVE": "ACCESS SHARE",
}


def conflict(first: LockMode, second: LockMode) -> bool:
    """Return whether two sessions cannot hold these locks on one table at the same time."""
    return strength(second) >= strength(_WEAKEST_CONFLICT[first]) and not first == second == "SHARE"


def blocking_locks(statements: Sequence[Statement]) -> dict[str, LockMode]:
    """Return the strongest lock that a migration takes on each table, if that lock blocks readers or writers.

    Weaker locks are left out: only other migrations queue after a session that waits for one.
    """
    strongest: dict[str, LockMode] = {}
    for lock in (lock for statement in statements for lock in statement.locks):
        if strength(lock.mode) >= max(strength("SHARE"), strength(strongest.get(lock.table, "SHARE"))):
            strongest[lock.table] = lock.mode
    return strongest
