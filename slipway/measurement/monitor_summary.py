"""Summarise the samples of the monitor in a sentence, and reduce their number. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from slipway.core.formatting import significant
from slipway.measurement.samples import MonitorResult, MonitorSample

MAX_SAMPLES = 2_000  # per step; ten minutes at five requests per second are 3,000


def downsample(samples: Sequence[MonitorSample]) -> tuple[MonitorSample, ...]:
    """Return at most `MAX_SAMPLES`, sorted by time. Of two neighbours an error stays, otherwise the slower one."""
    remaining = sorted(samples)
    while len(remaining) > MAX_SAMPLES:
        by_route: dict[tuple[str, str], list[MonitorSample]] = {}
        for sample in remaining:
            by_route.setdefault((sample.route, sample.identity), []).append(sample)
        remaining = sorted(
            max(pair, key=lambda sample: (sample.error != "", sample.latency_ms))
            for of_route in by_route.values()
            for pair in (of_route[start : start + 2] for start in range(0, len(of_route), 2))
        )
    return tuple(remaining)


def sentence(result: MonitorResult) -> str:
    """Return `During migrate (3.2 s) /orders as customer: median 4.1 ms, slowest 12 ms, 32 requests, no error.`"""
    head = f"During {result.step} ({result.seconds:.1f} s)"
    if not result.glimpses:
        return f"{head} the service was not monitored" + (f": {result.because}" if result.because else ".")
    summaries = []
    for route, identity in dict.fromkeys((sample.route, sample.identity) for sample in result.glimpses):
        samples = [sample for sample in result.glimpses if (sample.route, sample.identity) == (route, identity)]
        summaries.append(f"{route} as {identity}: {_summarise(samples)}")
    return f"{head} {'; '.join(summaries)}."


def _summarise(samples: Sequence[MonitorSample]) -> str:
    latencies = [sample.latency_ms for sample in samples if not sample.error]
    errors = [sample.error for sample in samples if sample.error]
    requests = f"{len(samples)} requests, "
    failed = f"{len(errors)} failed ({', '.join(sorted(set(errors)))})" if errors else "no error"
    if not latencies:
        return requests + failed
    return f"median {significant(median(latencies))} ms, slowest {significant(max(latencies))} ms, {requests}{failed}"
