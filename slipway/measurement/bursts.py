"""Bursts: a recording cut into them, and one route of a window looked at burst by burst. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from slipway.measurement.samples import CacheClass, MeasuredWindow, Measurement, Sample

MINIMUM_BURSTS = 20
MINIMUM_REQUESTS = 20  # error-free ones, of one route in one burst
RECORDED = "recorded"  # the identity of a recording, which does not know any


class Row(NamedTuple):
    """One row of a recording: when a request was due, which route it asked for, how long it took."""

    due_s: float
    route: str
    latency_ms: float


@dataclass(frozen=True)
class Side:
    """One route as one identity sees it, in one window: its error-free samples by cache class, and its errors."""

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
        """The cache class of most answers; None without an answer."""
        return max(self.samples, key=lambda cache: len(self.samples[cache]), default=None)

    def latencies(self, cache: CacheClass) -> list[float]:
        return [sample.latency_ms for sample in self.samples.get(cache, ())]

    def bursts(self, cache: CacheClass) -> dict[int, list[float]]:
        """Return the latencies of every burst that has enough of them, by the burst's number."""
        found: defaultdict[int, list[float]] = defaultdict(list)
        for sample in self.samples.get(cache, ()):
            found[sample.burst].append(sample.latency_ms)
        return {burst: latencies for burst, latencies in found.items() if len(latencies) >= MINIMUM_REQUESTS}


def side(window: MeasuredWindow, route: str, identity: str) -> Side:
    """Return what the window has of one route × identity, which may be nothing."""
    samples: defaultdict[CacheClass, list[Sample]] = defaultdict(list)
    errors = 0
    for measurement in window.measurements:
        if (measurement.route, measurement.identity) == (route, identity):
            valid = [sample for sample in measurement.samples if not sample.error]
            errors += len(measurement.samples) - len(valid)
            if valid:
                samples[measurement.cache] += valid
    return Side(dict(samples), errors)


def cut(rows: Sequence[Row], routes: Sequence[str], *, bursts: int = 20, requests: int | None = None) -> MeasuredWindow:
    """Return the recorded `routes` as a window of `bursts` bursts, of at most `requests` requests a route each.

    The bursts are cut by time, at every n-th request of the rarest route, so that routes asked in turn get equally
    many each. A recording knows neither cache class nor identity: all is "pass", seen by "recorded".
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
    """Return the moments that part `due_s` into equally large bursts."""
    wanted = min(bursts, len(due_s))
    return [due_s[number * len(due_s) // wanted] for number in range(1, wanted)]


def _measurement(route: str, cells: dict[tuple[str, int], list[Sample]]) -> Measurement:
    samples = tuple(sample for (name, _), samples in cells.items() if name == route for sample in samples)
    return Measurement(route=route, identity=RECORDED, cache="pass", samples=samples)
