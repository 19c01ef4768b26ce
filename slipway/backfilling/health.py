"""Whether a backfill may go on, by the signals of its service and database. Pure. What cannot be seen is no pass."""

from __future__ import annotations

from slipway.config.backfill import Health, Signals


def hold_reasons(signals: Signals, limits: Health, table: str) -> list[str]:
    """Why to hold, each in words; empty when the backfill may go on."""
    return [
        *_over(
            "the longest transaction",
            "s",
            signals.longest_transaction_s,
            limits.longest_transaction_s,
            SEE_TRANSACTIONS,
        ),
        *_over("the replication lag", "s", signals.replication_lag_s, limits.replication_lag_s, SEE_REPLICAS),
        *([f"{table} is being vacuumed"] if limits.wait_for_autovacuum and signals.vacuuming else []),
        *_over(f"GET {limits.route}", "ms", signals.latency_ms, limits.latency_ms, "it does not answer well"),
    ]


SEE_TRANSACTIONS = "the role needs pg_read_all_stats"
SEE_REPLICAS = "no replica is streaming, or the role needs pg_read_all_stats"


def _over(what: str, unit: str, seen: float | None, limit: float | None, unseen: str) -> list[str]:
    if limit is None:
        return []
    if seen is None:
        return [f"{what} cannot be seen: {unseen}"]
    return [f"{what} takes {seen:,.0f} {unit}, more than {limit:g}"] if seen > limit else []
