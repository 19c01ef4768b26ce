"""Whether a backfill may go on."""

from slipway.backfilling.health import hold_reasons
from slipway.config.backfill import Health, Signals

ALL = Health(longest_transaction_s=60, replication_lag_s=10, wait_for_autovacuum=True, route="/account", latency_ms=500)


def test_a_service_that_is_well() -> None:
    """Within every limit nothing holds."""
    signals = Signals(longest_transaction_s=60, replication_lag_s=0, latency_ms=499)
    assert hold_reasons(signals, ALL, "orders") == []


def test_every_reason_in_words() -> None:
    """Each limit that is passed is told with what was seen and what is allowed."""
    signals = Signals(longest_transaction_s=61.2, replication_lag_s=3_600, vacuuming=True, latency_ms=812.4)
    assert hold_reasons(signals, ALL, "orders") == [
        "the longest transaction takes 61 s, more than 60",
        "the replication lag takes 3,600 s, more than 10",
        "orders is being vacuumed",
        "GET /account takes 812 ms, more than 500",
    ]


def test_what_cannot_be_seen_is_no_pass() -> None:
    """A signal that was asked for and cannot be read holds, and says what to do."""
    assert hold_reasons(Signals(), ALL, "orders") == [
        "the longest transaction cannot be seen: the role needs pg_read_all_stats",
        "the replication lag cannot be seen: no replica is streaming, or the role needs pg_read_all_stats",
        "GET /account cannot be seen: it does not answer well",
    ]


def test_what_nobody_asked_for_does_not_hold() -> None:
    """A limit that is left out is not looked at."""
    limits = Health(longest_transaction_s=None, wait_for_autovacuum=False)
    assert hold_reasons(Signals(vacuuming=True, longest_transaction_s=9_999), limits, "orders") == []
