"""Whether a backfill may go on, by the signals of its service and database."""

from __future__ import annotations

import pytest

from slipway.backfill import Health, Signals
from slipway.rules.health import hold_reasons

LIMITS = Health(
    longest_transaction_s=60, replication_lag_s=10, wait_for_autovacuum=True, route="/account", latency_ms=500
)
WELL = Signals(longest_transaction_s=60, replication_lag_s=0, vacuuming=False, latency_ms=500)


def test_what_is_well_may_go_on() -> None:
    """A signal at its limit is still well."""
    assert hold_reasons(WELL, LIMITS, "accounts") == []


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        ({"longest_transaction_s": 61.0}, "the longest transaction takes 61 s, more than 60"),
        ({"replication_lag_s": 12.4}, "the replication lag takes 12 s, more than 10"),
        ({"vacuuming": True}, "accounts is being vacuumed"),
        ({"latency_ms": 1_234.0}, "GET /account takes 1,234 ms, more than 500"),
        (
            {"longest_transaction_s": None},
            "the longest transaction cannot be seen: the role needs pg_read_all_stats",
        ),
        (
            {"replication_lag_s": None},
            "the replication lag cannot be seen: no replica is streaming, or the role needs pg_read_all_stats",
        ),
        ({"latency_ms": None}, "GET /account cannot be seen: it does not answer well"),
    ],
)
def test_what_is_over_its_limit_or_cannot_be_seen_holds(seen: dict[str, object], reason: str) -> None:
    """Each in words; no data is never a pass."""
    assert hold_reasons(WELL.model_copy(update=seen), LIMITS, "accounts") == [reason]


def test_every_reason_is_told() -> None:
    """Two signals over their limits are two reasons."""
    assert len(hold_reasons(WELL.model_copy(update={"vacuuming": True, "latency_ms": 501.0}), LIMITS, "a")) == 2


def test_a_limit_that_is_left_out_is_not_looked_at() -> None:
    """What nobody asked for never holds, seen or not."""
    nothing = Health(wait_for_autovacuum=False)
    assert hold_reasons(Signals(vacuuming=True), nothing, "accounts") == []
    assert hold_reasons(Signals(longest_transaction_s=9_999, latency_ms=9_999), nothing, "accounts") == []
