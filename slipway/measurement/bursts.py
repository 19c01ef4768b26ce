"""Cut a recording into bursts, and collect the samples of one route of a window by burst. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from slipway.measurement.samples import CacheClass, MeasuredWindow, Measurement, Sample

MINIMUM_BURSTS = 20
MINIMUM_REQUESTS = 20  # error-free requests of one route in one burst
RECORDED = "recorded"  # the identity of all requests of a recording, because a recording has no identities


class Row(NamedTuple):
    """One row of a recording: the due time of a request, its route and its latency."""

    due_s: float
    route: str
    latency_ms: float


@dataclass(frozen=True)
class RouteWindow:
    """One route, requested as one identity, in one window: error-free samples by cache class, and the number of errors."""

    samples: dict[CacheClass, list[Sample]]
    errors: int

    @property
    def answers(self) -> int:
        return sum(len(samples) for samples in self.samples.values())

    @property
    def requests(self) -> int:
        return self.answers + self.errors

    @property
    def hits(self) -> int:
        return len(self.samples.get("hit", ()))

    @property
    def dominant(self) -> CacheClass | None:
        """Return the cache class of most responses; None without a response."""
        return max(self.samples, key=lambda cache: len(self.samples[cache]), default=None)

    def latencies(self, cache: CacheClass) -> list[float]:
        return [sample.latency_ms for sample in self.samples.get(cache, ())]

    def bursts(self, cache: CacheClass) -> dict[int, list[float]]:
        """Return the latencies of each burst with enough samples, by burst number."""
        by_burst: defaultdict[int, list[float]] = defaultdict(list)
        for sample in self.samples.get(cache, ()):
            by_burst[sample.burst].append(sample.latency_ms)
        return {burst: latencies for burst, latencies in by_burst.items() if len(latencies) >= MINIMUM_REQUESTS}


def route_window(window: MeasuredWindow, route: str, identity: str) -> RouteWindow:
    """Return the samples of one route × identity in the window; there may be none."""
    samples: defaultdict[CacheClass, list[Sample]] = defaultdict(list)
    errors = 0
    for measurement in window.measurements:
        if (measurement.route, measurement.identity) == (route, identity):
            valid = [sample for sample in measurement.samples if not sample.error]
            errors += len(measurement.samples) - len(valid)
            if valid:
                samples[measurement.cache] += valid
    return RouteWindow(dict(samples), errors)


def cut(rows: Sequence[Row], routes: Sequence[str], *, bursts: int = 20, requests: int | None = None) -> MeasuredWindow:
    """Return the recorded `routes` as a window of `bursts` bursts, with at most `requests` requests per route and burst.

    The bursts are cut by time, at every n-th request of the rarest route, so routes that are requested in turn get the same
    number of requests per burst. A recording has neither cache class nor identity: all samples get "pass" and "recorded".
    """
    chosen = sorted(row for row in rows if row.route in routes)
    counts = Counter(row.route for row in chosen)
    rarest = min(counts, key=counts.__getitem__, default="")
    edges = _edges([row.due_s for row in chosen if row.route == rarest], bursts)
    cells: defaultdict[tuple[str, int], list[Sample]] = defaultdict(list)
    for due_s, route, latency_ms in chosen:
        burst = bisect_right(edges, due_s)
        if requests is None or len(cells[route, burst]) < requests:
            cells[route, burst].append(Sample(burst, due_s, latency_ms))
    return MeasuredWindow(
        started_at="1970-01-01T00:00:00+00:00",
        seconds=chosen[-1].due_s - chosen[0].due_s if chosen else 0.0,
        bursts=len(edges) + 1 if chosen else 0,
        requests=min((len(samples) for samples in cells.values()), default=0),
        measurements=tuple(_measurement(route, cells) for route in counts),
    )


def _edges(due_s: Sequence[float], bursts: int) -> list[float]:
    """Return the times that divide `due_s` into bursts of equal size."""
    count = min(bursts, len(due_s))
    return [due_s[number * len(due_s) // count] for number in range(1, count)]


def _measurement(route: str, cells: dict[tuple[str, int], list[Sample]]) -> Measurement:
    samples = tuple(sample for (name, _), samples in cells.items() if name == route for sample in samples)
    return Measurement(route=route, identity=RECORDED, cache="pass", samples=samples)
