"""Decide whether a backfill may continue, from health signals. Pure. A signal that cannot be measured holds the backfill."""

from __future__ import annotations

from slipway.config.backfill import Health, Signals


def hold_reasons(signals: Signals, limits: Health, table: str) -> list[str]:
    """Return the reasons to hold the backfill. An empty list means that it may continue."""
    return [
        *_above_limit(
            "the longest transaction",
            "s",
            signals.longest_transaction_s,
            limits.longest_transaction_s,
            NO_TRANSACTIONS,
        ),
        *_above_limit("the replication lag", "s", signals.replication_lag_s, limits.replication_lag_s, NO_REPLICAS),
        *([f"{table} is being vacuumed"] if limits.wait_for_autovacuum and signals.vacuuming else []),
        *_above_limit(f"GET {limits.route}", "ms", signals.latency_ms, limits.latency_ms, NO_ANSWER),
    ]


NO_TRANSACTIONS = "the role needs pg_read_all_stats"
NO_REPLICAS = "no replica is streaming, or the role needs pg_read_all_stats"
NO_ANSWER = "the route does not answer, or answers with status 500 or above"


def _above_limit(signal: str, unit: str, value: float | None, limit: float | None, unknown: str) -> list[str]:
    if limit is None:
        return []
    if value is None:
        return [f"{signal} could not be measured: {unknown}"]
    return [f"{signal}: {value:,.0f} {unit}, the limit is {limit:g} {unit}"] if value > limit else []
