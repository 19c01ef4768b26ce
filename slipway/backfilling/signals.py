"""The health of a service and its database at one look: transactions, replicas, vacuum, one timed GET."""

from __future__ import annotations

import time

import httpx
from sqlalchemy import Connection, text

from slipway.backfilling.sources import quoted
from slipway.config.backfill import Health, Signals
from slipway.core.errors import Unavailable
from slipway.measurement.pages import get

# What another role's session does is hidden from a role without pg_read_all_stats; backend_type is NULL there.
TRANSACTION = text("""
    SELECT count(*) FILTER (WHERE backend_type IS NULL) AS hidden,
           coalesce(extract(epoch FROM max(clock_timestamp() - xact_start)
               FILTER (WHERE backend_type = 'client backend' AND pid <> pg_backend_pid())), 0) AS longest
    FROM pg_stat_activity WHERE datname = current_database()
""")
# replay_lag is NULL for a replica that has caught up and has nothing to do.
REPLICAS = text("""
    SELECT count(*) FILTER (WHERE state = 'streaming') AS streaming,
           coalesce(extract(epoch FROM max(replay_lag)), 0) AS lag FROM pg_stat_replication
""")
VACUUM = text("SELECT EXISTS (SELECT FROM pg_stat_progress_vacuum WHERE relid = to_regclass(:table))")


def read_signals(
    connection: Connection, limits: Health, table: str, visitor: httpx.Client | None, service: str
) -> Signals:
    """What `limits` asks for, now; the rest is left alone."""
    return Signals(
        longest_transaction_s=_longest_transaction(connection) if limits.longest_transaction_s else None,
        replication_lag_s=_replication_lag(connection) if limits.replication_lag_s else None,
        vacuuming=limits.wait_for_autovacuum
        and bool(connection.execute(VACUUM, {"table": quoted(table)}).scalar_one()),
        latency_ms=_latency(visitor, limits.route, service) if limits.route and visitor is not None else None,
    )


def _longest_transaction(connection: Connection) -> float | None:
    row = connection.execute(TRANSACTION).one()
    return None if row.hidden else float(row.longest)


def _replication_lag(connection: Connection) -> float | None:
    row = connection.execute(REPLICAS).one()
    return float(row.lag) if row.streaming else None


def _latency(visitor: httpx.Client, route: str, service: str) -> float | None:
    began = time.perf_counter()
    try:
        answer = get(visitor, route, service)
    except Unavailable:
        return None
    return (time.perf_counter() - began) * 1_000 if answer.status_code < 500 else None
