"""Read the sessions that would block a migration, before it requests its locks: a waiting request blocks all later ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sqlalchemy import Connection, text

from slipway.databases.catalog import LockMode
from slipway.databases.database import MODES, TABLE, Address, Blocker, ReadLockHolders
from slipway.databases.lock_conflicts import conflict
from slipway.databases.postgresql.migration_lock import connected

LONG_S = 0.1  # transactions that are open for less time end soon, and are ignored
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
def lock_holder_reader(database: Address, locks: Mapping[str, LockMode]) -> Iterator[ReadLockHolders]:
    """Yield a function that returns the sessions whose open transactions conflict with `locks`, oldest transaction first.

    All calls use one connection, because a new connection costs the server more than the query. Raises Unavailable.
    """
    if not locks:
        yield list
        return
    with connected(database) as connection:
        yield lambda: _read_holders(connection, locks)


def _read_holders(connection: Connection, locks: Mapping[str, LockMode]) -> list[Blocker]:
    rows = connection.execute(text(HOLDERS), {"long_s": LONG_S, "tables": list(locks)}).mappings().all()
    holders: dict[int, Blocker] = {}
    for row in rows:
        if row["pid"] not in holders and conflict(locks[row["held"]], MODES[row["mode"]]):
            holders[row["pid"]] = Blocker.model_validate({name: row[name] for name in Blocker.model_fields})
    return list(holders.values())
