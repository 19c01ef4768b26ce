"""Test the summary of monitor samples."""

from __future__ import annotations

from datetime import UTC, datetime

from slipway.measurement.monitor_summary import MAX_SAMPLES, downsample, sentence
from slipway.measurement.samples import MonitorResult, MonitorSample

AT = datetime(2026, 1, 1, tzinfo=UTC)


def test_few_samples_are_all_kept() -> None:
    """Few samples are all returned, sorted by time."""
    two = (MonitorSample(1.0, "/a", "anonymous", 3.0), MonitorSample(0.5, "/b", "anonymous", 4.0))
    assert downsample(two) == (two[1], two[0])


def test_downsampling_keeps_the_worst_samples() -> None:
    """The slowest of neighbouring samples of a route stay, errors stay before them, and no route is lost."""
    many = [MonitorSample(number / 10, "/a", "anonymous", 1.0) for number in range(2 * MAX_SAMPLES)]
    many[700] = many[700]._replace(latency_ms=900.0)
    many[701] = many[701]._replace(latency_ms=0.5, error="timeout")
    many.append(MonitorSample(9.0, "/rare", "anonymous", 2.0))
    reduced = downsample(many)
    assert MAX_SAMPLES / 4 <= len(reduced) <= MAX_SAMPLES
    assert [sample for sample in reduced if sample.error] == [many[701]]
    assert many[-1] in reduced and list(reduced) == sorted(reduced)


def test_sentence_summarises_each_route() -> None:
    """The sentence has the median, the slowest request, the number of requests and the errors of each route."""
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


def test_sentence_without_monitoring_gives_the_reason() -> None:
    """The sentence contains the reason, if it is known."""
    unmonitored = MonitorResult(step="the purge", started_at=AT, seconds=2, because="Signing in failed.")
    assert sentence(unmonitored) == "During the purge (2.0 s) the service was not monitored: Signing in failed."
    assert (
        sentence(unmonitored.model_copy(update={"because": ""}))
        == "During the purge (2.0 s) the service was not monitored."
    )
