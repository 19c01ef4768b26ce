"""Support for a migration of a live PostgreSQL: the migration lock, blocking sessions, and invalid indexes."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from slipway.core.errors import SlipwayError, Unavailable
from slipway.databases.database import DRIVER, Address, Blocker

LOCK = "slipway: one migration at a time"
LOCK_WITHIN_S = 30.0
POLL_EVERY_S = 0.1
DROP_LOCK_TIMEOUT = "5s"

BLOCKERS = """
SELECT DISTINCT blocker.pid, blocker.application_name AS application, coalesce(blocker.state, '') AS state,
       left(blocker.query, 200) AS query, coalesce(blocker.xact_start, blocker.backend_start) AS since
FROM pg_stat_activity waiting
CROSS JOIN LATERAL unnest(pg_blocking_pids(waiting.pid)) AS found (pid)
JOIN pg_stat_activity blocker ON blocker.pid = found.pid
WHERE waiting.application_name = :application AND waiting.datname = current_database()
"""
# An index that a session is still building is also invalid. It must not be dropped.
INVALID = """
SELECT format('%I.%I', n.nspname, c.relname)
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT i.indisvalid AND c.relkind = 'i'
  AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid)
ORDER BY 1
"""


@contextmanager
def hold_migration_lock(database: Address) -> Iterator[None]:
    """Hold the lock that lets one Slipway migrate this database, also across stores. Raises Unavailable if another holds it."""
    with connected(database) as connection:
        deadline = time.monotonic() + LOCK_WITHIN_S
        query = text("SELECT pg_try_advisory_lock(hashtextextended(:lock, 0))")
        while not connection.execute(query, {"lock": LOCK}).scalar_one():
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"Another process is migrating {database.name}.", expected="One migration of a database at a time."
                )
            time.sleep(POLL_EVERY_S)
        yield


@contextmanager
def watch_blockers(database: Address, application: str) -> Iterator[list[Blocker]]:
    """Yield a list that contains, after the block, each session that blocked `application`. Sampled every 0.1 s."""
    by_pid: dict[int, Blocker] = {}
    blockers: list[Blocker] = []
    stop = threading.Event()
    sampler = threading.Thread(target=_sample_blockers, args=(database, application, by_pid, stop), daemon=True)
    sampler.start()
    try:
        yield blockers
    finally:
        stop.set()
        sampler.join()
        blockers.extend(by_pid.values())


def is_same_database(first: Address, second: Address) -> bool:
    """Return whether two URLs reach the same database under any name or port: a lock taken by one is visible to the other."""
    key = secrets.randbits(62)
    held = text(
        "SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE l.locktype = 'advisory' "
        "AND d.datname = current_database() AND (l.classid::bigint << 32 | l.objid::bigint) = :key)"
    )
    with connected(first) as locking, connected(second) as reading:
        locking.execute(text("SELECT pg_advisory_lock(:key)"), {"key": key})
        return bool(reading.execute(held, {"key": key}).scalar_one())


def invalid_indexes(database: Address) -> tuple[str, ...]:
    """Return the quoted names of the invalid indexes that no session is building."""
    with connected(database) as connection:
        return tuple(connection.execute(text(INVALID)).scalars())


def drop_index(database: Address, index: str) -> None:
    """Drop an (invalid) index without blocking users of its table. Raises SlipwayError if that fails."""
    try:
        with connected(database) as connection:
            connection.execute(text(f"SET lock_timeout = '{DROP_LOCK_TIMEOUT}'"))
            connection.exec_driver_sql(f"DROP INDEX CONCURRENTLY IF EXISTS {index}")
    except Unavailable as error:
        raise SlipwayError(
            f"Could not drop the invalid index {index}: {error.failed}",
            expected=f"No invalid index. To drop it by hand: DROP INDEX CONCURRENTLY {index};",
            retry_is_safe=True,
        ) from None


def _sample_blockers(database: Address, application: str, by_pid: dict[int, Blocker], stop: threading.Event) -> None:
    try:
        with connected(database) as connection:
            while not stop.wait(POLL_EVERY_S):
                for row in connection.execute(text(BLOCKERS), {"application": application}).mappings():
                    by_pid[row["pid"]] = Blocker.model_validate(dict(row))
    except Unavailable:
        return  # the migration's own command reports its errors


@contextmanager
def connected(database: Address) -> Iterator[Connection]:
    """Open a connection on which each statement is a transaction. Raises Unavailable if the database does not answer."""
    engine: Engine = create_engine(database.url.set(drivername=DRIVER), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            yield connection
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise Unavailable(f"Database {database.name}: {reason}.", expected="A database that answers.") from None
    finally:
        engine.dispose()
