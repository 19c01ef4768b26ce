"""What glimpses of a service come to: a sentence, and fewer of them where there are many. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from slipway.core.formatting import significant
from slipway.measurement.samples import MonitorResult, MonitorSample

MOST = 2_000  # a step; ten minutes at five a second are 3,000


def thinned(glimpses: Sequence[MonitorSample]) -> tuple[MonitorSample, ...]:
    """At most `MOST`, in the order of their times; the slowest of neighbours stays, and an error before any of them."""
    kept = sorted(glimpses)
    while len(kept) > MOST:
        by_route: dict[tuple[str, str], list[MonitorSample]] = {}
        for glimpse in kept:
            by_route.setdefault((glimpse.route, glimpse.identity), []).append(glimpse)
        kept = sorted(
            max(pair, key=lambda glimpse: (glimpse.error != "", glimpse.latency_ms))
            for of_route in by_route.values()
            for pair in (of_route[at : at + 2] for at in range(0, len(of_route), 2))
        )
    return tuple(kept)


def sentence(watched: MonitorResult) -> str:
    """`During migrate (3.2 s) /orders as customer: median 4.1 ms, slowest 12 ms, 32 requests, no error.`"""
    head = f"During {watched.step} ({watched.seconds:.1f} s)"
    if not watched.glimpses:
        return f"{head} nobody watched" + (f": {watched.because}" if watched.because else ".")
    told = []
    for route, identity in dict.fromkeys((glimpse.route, glimpse.identity) for glimpse in watched.glimpses):
        found = [glimpse for glimpse in watched.glimpses if (glimpse.route, glimpse.identity) == (route, identity)]
        told.append(f"{route} as {identity}: {_of_route(found)}")
    return f"{head} {'; '.join(told)}."


def _of_route(glimpses: Sequence[MonitorSample]) -> str:
    times = [glimpse.latency_ms for glimpse in glimpses if not glimpse.error]
    failed = [glimpse.error for glimpse in glimpses if glimpse.error]
    counted = f"{len(glimpses)} requests, "
    errors = f"{len(failed)} failed ({', '.join(sorted(set(failed)))})" if failed else "no error"
    if not times:
        return counted + errors
    return f"median {significant(median(times))} ms, slowest {significant(max(times))} ms, {counted}{errors}"
