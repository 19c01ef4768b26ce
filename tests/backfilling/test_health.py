"""The reasons to hold a backfill."""

from slipway.backfilling.health import hold_reasons
from slipway.config.backfill import Health, Signals

ALL = Health(longest_transaction_s=60, replication_lag_s=10, wait_for_autovacuum=True, route="/account", latency_ms=500)


def test_healthy_service_does_not_hold() -> None:
    """There is no reason if every signal is within its limit."""
    signals = Signals(longest_transaction_s=60, replication_lag_s=0, latency_ms=499)
    assert hold_reasons(signals, ALL, "orders") == []


def test_each_reason_contains_value_and_limit() -> None:
    """Each signal above its limit is a reason, with its value and its limit."""
    signals = Signals(longest_transaction_s=61.2, replication_lag_s=3_600, vacuuming=True, latency_ms=812.4)
    assert hold_reasons(signals, ALL, "orders") == [
        "the longest transaction: 61 s, the limit is 60 s",
        "the replication lag: 3,600 s, the limit is 10 s",
        "orders is being vacuumed",
        "GET /account: 812 ms, the limit is 500 ms",
    ]


def test_unknown_signal_holds() -> None:
    """A signal that has a limit and could not be measured is a reason, which contains the fix."""
    assert hold_reasons(Signals(), ALL, "orders") == [
        "the longest transaction could not be measured: the role needs pg_read_all_stats",
        "the replication lag could not be measured: no replica is streaming, or the role needs pg_read_all_stats",
        "GET /account could not be measured: the route does not answer, or answers with status 500 or above",
    ]


def test_signal_without_a_limit_does_not_hold() -> None:
    """A signal whose limit is not set is ignored."""
    limits = Health(longest_transaction_s=None, wait_for_autovacuum=False)
    assert hold_reasons(Signals(vacuuming=True, longest_transaction_s=9_999), limits, "orders") == []
