"""What glimpses come to."""

from __future__ import annotations

from datetime import UTC, datetime

from slipway.measurement.monitor_summary import MOST, sentence, thinned
from slipway.measurement.samples import MonitorResult, MonitorSample

AT = datetime(2026, 1, 1, tzinfo=UTC)


def test_few_glimpses_stay_as_they_are() -> None:
    """In the order of their times."""
    two = (MonitorSample(1.0, "/a", "anonymous", 3.0), MonitorSample(0.5, "/b", "anonymous", 4.0))
    assert thinned(two) == (two[1], two[0])


def test_of_many_the_worst_stay() -> None:
    """The slowest of neighbours of a route, and every error that is not beside another one; no route is lost."""
    many = [MonitorSample(number / 10, "/a", "anonymous", 1.0) for number in range(2 * MOST)]
    many[700] = many[700]._replace(latency_ms=900.0)
    many[701] = many[701]._replace(latency_ms=0.5, error="timeout")
    many.append(MonitorSample(9.0, "/rare", "anonymous", 2.0))
    kept = thinned(many)
    assert MOST / 4 <= len(kept) <= MOST
    assert [glimpse for glimpse in kept if glimpse.error] == [many[701]]
    assert many[-1] in kept and list(kept) == sorted(kept)


def test_a_sentence() -> None:
    """Each route with its median, its slowest, how many, and what failed."""
    glimpses = (
        MonitorSample(0.0, "/orders", "customer", 4.0),
        MonitorSample(0.2, "/", "anonymous", 0.0, "timeout"),
        MonitorSample(0.4, "/orders", "customer", 12.0),
        MonitorSample(0.6, "/orders", "customer", 7.0, "status 500"),
    )
    assert sentence(MonitorResult(step="the migration", started_at=AT, seconds=3.21, glimpses=glimpses)) == (
        "During the migration (3.2 s) /orders as customer: median 8 ms, slowest 12 ms, 3 requests, 1 failed (status 500); "
        "/ as anonymous: 1 requests, 1 failed (timeout)."
    )


def test_nobody_watched() -> None:
    """It says why, where it is known."""
    blind = MonitorResult(step="the purge", started_at=AT, seconds=2, because="Signing in failed.")
    assert sentence(blind) == "During the purge (2.0 s) nobody watched: Signing in failed."
    assert sentence(blind.model_copy(update={"because": ""})) == "During the purge (2.0 s) nobody watched."
