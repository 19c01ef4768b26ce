"""Retry delays for a migration that waits for a lock: each attempt has a short lock timeout, and the delays grow.

A session that waits for a table lock blocks all later sessions, readers too. So every attempt has a limit, and the queue
drains during the delay. (GitLab's migration helpers make 41 attempts in this way; squawk and strong_migrations
recommend a lock_timeout for every migration.)

Pure.
"""

from __future__ import annotations

from slipway.core.commands import CommandRun

FIRST_DELAY_S, GROWTH, LONGEST_DELAY_S = 0.5, 1.6, 60.0
LOCK_ERRORS = (
    *("lock timeout", "LockNotAvailable", "55P03"),  # PostgreSQL's message, psycopg's class, the SQLSTATE
    "database is locked",  # SQLite's message (SQLITE_BUSY)
    "Lock wait timeout exceeded",  # message of MariaDB and MySQL (error 1205)
)


def retry_delays(attempts: int) -> list[float]:
    """Return the seconds to wait after each attempt except the last."""
    return [min(LONGEST_DELAY_S, FIRST_DELAY_S * GROWTH**number) for number in range(attempts - 1)]


def lock_timed_out(command: CommandRun) -> bool:
    """Return whether a command failed because it did not get a lock in time."""
    return command.exit_code != 0 and any(message in command.output for message in LOCK_ERRORS)
