"""Compare a target with its control, burst by burst, before and after a change. Pure.

For each burst d = ln median(target) − ln median(control). The exponential of mean(d after) − mean(d before) is the ratio
after / before; the exponential of Welch's interval is its confidence interval. The 90th percentile is compared in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import exp, log
from statistics import median

from slipway.config.change import Pair
from slipway.measurement.bursts import MINIMUM_BURSTS, RouteWindow, route_window
from slipway.measurement.samples import CacheClass, Interval, MeasuredWindow
from slipway.measurement.statistics import holm, welch

SHORTEST_MS = 0.001  # the resolution of a recording; a shorter latency counts as this, so that its logarithm exists

Burst = tuple[list[float], list[float]]  # latencies of the target and of its control, in ms
Statistic = Callable[[Sequence[float]], float]


@dataclass(frozen=True)
class Change:
    """The change of one statistic (median or 90th percentile) of one target."""

    before_ms: float
    after_ms: float
    ratio: Interval
    p_value: float

    @property
    def worth_ms(self) -> float:
        """The size of the change in ms relative to the value before, corrected for the change of the control."""
        return abs(self.ratio.ratio - 1) * self.before_ms


@dataclass(frozen=True)
class ComparedPair:
    """A target and its control, each as (before, after). Only the target's dominant cache class before is judged."""

    pair: Pair
    target: tuple[RouteWindow, RouteWindow]
    control: tuple[RouteWindow, RouteWindow]

    @property
    def cache(self) -> CacheClass | None:
        return self.target[0].dominant

    @property
    def name(self) -> str:
        return f"{self.pair.route} as {self.pair.identity}"

    @property
    def control_name(self) -> str:
        return f"{self.pair.control_route} as {self.pair.control_identity}"

    def bursts(self, phase: int) -> list[Burst]:
        """Return target and control latencies of each burst with enough of both; `phase` is 0 (before) or 1 (after)."""
        if self.cache is None:
            return []
        target, control = self.target[phase].bursts(self.cache), self.control[phase].bursts(self.cache)
        return [(target[burst], control[burst]) for burst in sorted(target.keys() & control.keys())]

    def before_and_after(self, windows: tuple[RouteWindow, RouteWindow], statistic: Statistic) -> list[float | None]:
        """Return a statistic of all error-free samples before and after; None for a window without samples."""
        samples = [window.latencies(self.cache) if self.cache else [] for window in windows]
        return [statistic(latencies) if latencies else None for latencies in samples]

    @property
    def control_ratio(self) -> float | None:
        before, after = self.before_and_after(self.control, median)
        return None if before is None or after is None else after / max(before, SHORTEST_MS)


def compare_windows(before: MeasuredWindow, after: MeasuredWindow, pair: Pair) -> ComparedPair:
    """Return the samples of a target and of its control, before and after."""

    def both(route: str, identity: str) -> tuple[RouteWindow, RouteWindow]:
        return route_window(before, route, identity), route_window(after, route, identity)

    return ComparedPair(pair, both(pair.route, pair.identity), both(pair.control_route, pair.control_identity))


def compare_latency(compared: ComparedPair, alpha: float) -> list[Change]:
    """Return the changes of the median and of the 90th percentile; an empty list if there are too few bursts."""
    before, after = compared.bursts(0), compared.bursts(1)
    if min(len(before), len(after)) < MINIMUM_BURSTS:
        return []
    return [_change(compared, before, after, statistic, alpha) for statistic in (median, p90)]


def _change(
    compared: ComparedPair,
    before: Iterable[Burst],
    after: Iterable[Burst],
    statistic: Statistic,
    alpha: float,
) -> Change:
    def log_of(latencies: list[float]) -> float:
        return log(max(SHORTEST_MS, statistic(latencies)))

    differences = [[log_of(target) - log_of(control) for target, control in bursts] for bursts in (before, after)]
    result = welch(differences[0], differences[1], alpha)
    ratio = Interval(ratio=exp(result.difference), low=exp(result.low), high=exp(result.high), confidence=1 - alpha)
    levels = [level or 0.0 for level in compared.before_and_after(compared.target, statistic)]
    return Change(levels[0], levels[1], ratio, result.p_value)


def p90(latencies: Sequence[float]) -> float:
    """Return the 90th percentile, linear between ranks (Hyndman and Fan 1996, type 7, the default of numpy)."""
    ranked = sorted(latencies)
    rank, rest = divmod(9 * (len(ranked) - 1), 10)
    return ranked[rank] if rest == 0 else ranked[rank] + (ranked[rank + 1] - ranked[rank]) * rest / 10


def adjust_p_values(changes: Sequence[list[Change]]) -> list[list[Change]]:
    """Return the same changes with p-values adjusted for multiple comparisons (Holm)."""
    p_values = iter(holm([change.p_value for of_target in changes for change in of_target]))
    return [[replace(change, p_value=next(p_values)) for change in of_target] for of_target in changes]
