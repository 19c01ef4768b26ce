"""What surrounds a migration of a live PostgreSQL: one mover at a time, who blocks it, and what it left half done."""

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
LOOK_EVERY_S = 0.1
DROP_LOCK_TIMEOUT = "5s"

BLOCKERS = """
SELECT DISTINCT blocker.pid, blocker.application_name AS application, coalesce(blocker.state, '') AS state,
       left(blocker.query, 200) AS query, coalesce(blocker.xact_start, blocker.backend_start) AS since
FROM pg_stat_activity waiting
CROSS JOIN LATERAL unnest(pg_blocking_pids(waiting.pid)) AS found (pid)
JOIN pg_stat_activity blocker ON blocker.pid = found.pid
WHERE waiting.application_name = :application AND waiting.datname = current_database()
"""
# An index that a session still builds is invalid, too, and none of ours to drop.
INVALID = """
SELECT format('%I.%I', n.nspname, c.relname)
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT i.indisvalid AND c.relkind = 'i'
  AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid)
ORDER BY 1
"""


@contextmanager
def only_mover(database: Address) -> Iterator[None]:
    """Within this block no other Slipway migrates this database, whatever store it has. Raises Unavailable when one does."""
    with connected(database) as connection:
        deadline = time.monotonic() + LOCK_WITHIN_S
        query = text("SELECT pg_try_advisory_lock(hashtextextended(:lock, 0))")
        while not connection.execute(query, {"lock": LOCK}).scalar_one():
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"Somebody else migrates {database.name}.", expected="One migration at a time of one database."
                )
            time.sleep(LOOK_EVERY_S)
        yield


@contextmanager
def blockers_of(database: Address, application: str) -> Iterator[list[Blocker]]:
    """The sessions that block those called `application` while the block lasts, seen every 0.1 s; each once."""
    found: dict[int, Blocker] = {}
    seen: list[Blocker] = []
    over = threading.Event()
    watch = threading.Thread(target=_watch, args=(database, application, found, over), daemon=True)
    watch.start()
    try:
        yield seen
    finally:
        over.set()
        watch.join()
        seen.extend(found.values())


def is_same_database(one: Address, other: Address) -> bool:
    """Whether two URLs reach the same database, whatever names and ports they use: a lock taken here is seen there."""
    key = secrets.randbits(62)
    held = text(
        "SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE l.locktype = 'advisory' "
        "AND d.datname = current_database() AND (l.classid::bigint << 32 | l.objid::bigint) = :key)"
    )
    with connected(one) as mine, connected(other) as theirs:
        mine.execute(text("SELECT pg_advisory_lock(:key)"), {"key": key})
        return bool(theirs.execute(held, {"key": key}).scalar_one())


def invalid_indexes(database: Address) -> tuple[str, ...]:
    """The invalid indexes, quoted, that no session is building."""
    with connected(database) as connection:
        return tuple(connection.execute(text(INVALID)).scalars())


def drop_index(database: Address, index: str) -> None:
    """Drop an (invalid) index without blocking who uses its table. Raises SlipwayError when it cannot be."""
    try:
        with connected(database) as connection:
            connection.execute(text(f"SET lock_timeout = '{DROP_LOCK_TIMEOUT}'"))
            connection.exec_driver_sql(f"DROP INDEX CONCURRENTLY IF EXISTS {index}")
    except Unavailable as error:
        raise SlipwayError(
            f"The invalid index {index} could not be dropped: {error.failed}",
            expected=f"DROP INDEX CONCURRENTLY {index}",
            retry_is_safe=True,
        ) from None


def _watch(database: Address, application: str, found: dict[int, Blocker], over: threading.Event) -> None:
    try:
        with connected(database) as connection:
            while not over.wait(LOOK_EVERY_S):
                for row in connection.execute(text(BLOCKERS), {"application": application}).mappings():
                    found[row["pid"]] = Blocker.model_validate(dict(row))
    except Unavailable:
        return  # what the migration itself meets is told by its own command


@contextmanager
def connected(database: Address) -> Iterator[Connection]:
    """A connection on which each statement is a transaction. Raises Unavailable when the database does not answer."""
    engine: Engine = create_engine(database.url.set(drivername=DRIVER), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            yield connection
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise Unavailable(f"Database {database.name}: {reason}.", expected="A database that answers.") from None
    finally:
        engine.dispose()
