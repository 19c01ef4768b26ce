"""The ladder of tries for a migration that waits for a lock: each try gives up soon, and the pauses grow.

Who waits for a lock on a table blocks everybody behind it, readers too, so every try has a limit, the last one too. A
pause lets the queue go by. (GitLab's migration helpers climb 41 rungs in this way; squawk and strong_migrations
recommend a lock_timeout for every migration.)

Pure.
"""

from __future__ import annotations

from slipway.core.commands import CommandRun

FIRST_PAUSE_S, GROWTH, LONGEST_PAUSE_S = 0.5, 1.6, 60.0
TOLD = (
    *("lock timeout", "LockNotAvailable", "55P03"),  # PostgreSQL's words, psycopg's class, the SQLSTATE
    "database is locked",  # SQLite's words (SQLITE_BUSY)
    "Lock wait timeout exceeded",  # those of MariaDB and MySQL (error 1205)
)


def pauses(tries: int) -> list[float]:
    """The seconds to wait behind each try but the last."""
    return [min(LONGEST_PAUSE_S, FIRST_PAUSE_S * GROWTH**number) for number in range(tries - 1)]


def waited_for_a_lock(ran: CommandRun) -> bool:
    """Whether a command failed because it did not get a lock in time."""
    return ran.exit_code != 0 and any(told in ran.output for told in TOLD)
