"""Read the health of a service and its database: transactions, replicas, vacuum, and one timed GET request."""

from __future__ import annotations

import time

import httpx
from sqlalchemy import Connection, text

from slipway.backfilling.sources import quoted
from slipway.config.backfill import Health, Signals
from slipway.core.errors import Unavailable
from slipway.measurement.pages import get

# Without pg_read_all_stats, the sessions of other roles are hidden, and their backend_type is NULL.
TRANSACTION = text("""
    SELECT count(*) FILTER (WHERE backend_type IS NULL) AS hidden,
           coalesce(extract(epoch FROM max(clock_timestamp() - xact_start)
               FILTER (WHERE backend_type = 'client backend' AND pid <> pg_backend_pid())), 0) AS longest
    FROM pg_stat_activity WHERE datname = current_database()
""")
# replay_lag is NULL for a replica that has caught up and is idle.
REPLICAS = text("""
    SELECT count(*) FILTER (WHERE state = 'streaming') AS streaming,
           coalesce(extract(epoch FROM max(replay_lag)), 0) AS lag FROM pg_stat_replication
""")
VACUUM = text("SELECT EXISTS (SELECT FROM pg_stat_progress_vacuum WHERE relid = to_regclass(:table))")


def read_signals(
    connection: Connection, limits: Health, table: str, client: httpx.Client | None, service: str
) -> Signals:
    """Measure the signals that have a limit in `limits`. The other signals are not read."""
    return Signals(
        longest_transaction_s=_longest_transaction(connection) if limits.longest_transaction_s else None,
        replication_lag_s=_replication_lag(connection) if limits.replication_lag_s else None,
        vacuuming=limits.wait_for_autovacuum
        and bool(connection.execute(VACUUM, {"table": quoted(table)}).scalar_one()),
        latency_ms=_latency(client, limits.route, service) if limits.route and client is not None else None,
    )


def _longest_transaction(connection: Connection) -> float | None:
    row = connection.execute(TRANSACTION).one()
    return None if row.hidden else float(row.longest)


def _replication_lag(connection: Connection) -> float | None:
    row = connection.execute(REPLICAS).one()
    return float(row.lag) if row.streaming else None


def _latency(client: httpx.Client, route: str, service: str) -> float | None:
    began = time.perf_counter()
    try:
        response = get(client, route, service)
    except Unavailable:
        return None
    return (time.perf_counter() - began) * 1_000 if response.status_code < 500 else None
