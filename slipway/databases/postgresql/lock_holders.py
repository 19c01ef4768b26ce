"""Who would keep a migration from a lock, seen before it asks for it: asking makes everybody else wait behind it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sqlalchemy import Connection, text

from slipway.databases.catalog import LockMode
from slipway.databases.database import MODES, TABLE, Address, Blocker, Look
from slipway.databases.lock_conflicts import conflict
from slipway.databases.postgresql.migration_lock import connected

LONG_S = 0.1  # a transaction that is open for longer than this is no passing one
HOLDERS = f"""
SELECT a.pid, a.application_name AS application, coalesce(a.state, '') AS state, left(a.query, 200) AS query,
       a.xact_start AS since, l.mode, held.name AS held
FROM pg_locks l
JOIN pg_stat_activity a ON a.pid = l.pid
JOIN pg_class t ON t.oid = l.relation
JOIN pg_namespace n ON n.oid = t.relnamespace
CROSS JOIN LATERAL (SELECT {TABLE}) AS held (name)
WHERE l.granted AND a.datname = current_database() AND a.pid <> pg_backend_pid()
  AND a.xact_start < clock_timestamp() - make_interval(secs => :long_s) AND held.name = ANY(:tables)
ORDER BY a.xact_start
"""  # noqa: S608 - put together from constants


@contextmanager
def in_the_way(database: Address, wanted: Mapping[str, LockMode]) -> Iterator[Look]:
    """A look at the sessions whose open transactions exclude the wanted locks, the longest open first.

    All looks go over one connection: a new one each would cost the server more than the look. Raises Unavailable.
    """
    if not wanted:
        yield list
        return
    with connected(database) as connection:
        yield lambda: _look(connection, wanted)


def _look(connection: Connection, wanted: Mapping[str, LockMode]) -> list[Blocker]:
    rows = connection.execute(text(HOLDERS), {"long_s": LONG_S, "tables": list(wanted)}).mappings().all()
    found: dict[int, Blocker] = {}
    for row in rows:
        if row["pid"] not in found and conflict(wanted[row["held"]], MODES[row["mode"]]):
            found[row["pid"]] = Blocker.model_validate({name: row[name] for name in Blocker.model_fields})
    return list(found.values())
