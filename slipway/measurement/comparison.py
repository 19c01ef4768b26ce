"""Comparing: a target with its control, burst by burst, before and after. Pure.

Per burst d = ln median(target) − ln median(control); Welch's interval of mean(d after) − mean(d before) is, by its
exponential, the ratio after / before and its interval. The same with the 90th percentile in the median's place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import exp, log
from statistics import median

from slipway.config.change import Pair
from slipway.measurement.bursts import MINIMUM_BURSTS, Side, side
from slipway.measurement.samples import CacheClass, Interval, MeasuredWindow
from slipway.measurement.statistics import holm, welch

SHORTEST_MS = 0.001  # a recording's last digit; what is shorter is counted as this, for its logarithm

Burst = tuple[list[float], list[float]]  # latencies of the target and of its control, in ms
Statistic = Callable[[Sequence[float]], float]


@dataclass(frozen=True)
class Change:
    """What happened to one statistic (median or 90th percentile) of one target."""

    before_ms: float
    after_ms: float
    ratio: Interval
    p_value: float

    @property
    def worth_ms(self) -> float:
        """The change at the level of before, the control's own movement taken out."""
        return abs(self.ratio.ratio - 1) * self.before_ms


@dataclass(frozen=True)
class ComparedPair:
    """A target and its control, before and after, all in the cache class that is judged."""

    pair: Pair
    target: tuple[Side, Side]
    control: tuple[Side, Side]

    @property
    def cache(self) -> CacheClass | None:
        return self.target[0].dominant

    @property
    def name(self) -> str:
        return f"{self.pair.route} as {self.pair.identity}"

    @property
    def control_name(self) -> str:
        return f"{self.pair.control_route} as {self.pair.control_identity}"

    def bursts(self, when: int) -> list[Burst]:
        """Return the latencies of target and control in every burst that has enough of both."""
        if self.cache is None:
            return []
        target, control = self.target[when].bursts(self.cache), self.control[when].bursts(self.cache)
        return [(target[burst], control[burst]) for burst in sorted(target.keys() & control.keys())]

    def middle(self, sides: tuple[Side, Side], statistic: Statistic) -> list[float | None]:
        """Return a statistic of all error-free samples before and after, None where there is none."""
        found = [s.latencies(self.cache) if self.cache else [] for s in sides]
        return [statistic(latencies) if latencies else None for latencies in found]

    @property
    def control_ratio(self) -> float | None:
        before, after = self.middle(self.control, median)
        return None if before is None or after is None else after / max(before, SHORTEST_MS)


def look(before: MeasuredWindow, after: MeasuredWindow, pair: Pair) -> ComparedPair:
    """Return what was seen of a target and of its control, before and after."""

    def both(route: str, identity: str) -> tuple[Side, Side]:
        return side(before, route, identity), side(after, route, identity)

    return ComparedPair(pair, both(pair.route, pair.identity), both(pair.control_route, pair.control_identity))


def changes(seen: ComparedPair, alpha: float) -> list[Change]:
    """Return what happened to the median and to the 90th percentile; nothing where the bursts are too few."""
    before, after = seen.bursts(0), seen.bursts(1)
    if min(len(before), len(after)) < MINIMUM_BURSTS:
        return []
    return [_change(seen, before, after, statistic, alpha) for statistic in (median, p90)]


def _change(
    seen: ComparedPair,
    before: Iterable[Burst],
    after: Iterable[Burst],
    statistic: Statistic,
    alpha: float,
) -> Change:
    def log_of(latencies: list[float]) -> float:
        return log(max(SHORTEST_MS, statistic(latencies)))

    sides = [[log_of(target) - log_of(control) for target, control in bursts] for bursts in (before, after)]
    found = welch(sides[0], sides[1], alpha)
    ratio = Interval(ratio=exp(found.difference), low=exp(found.low), high=exp(found.high), confidence=1 - alpha)
    levels = [level or 0.0 for level in seen.middle(seen.target, statistic)]
    return Change(levels[0], levels[1], ratio, found.p_value)


def p90(latencies: Sequence[float]) -> float:
    """Return the 90th percentile, linear between ranks (Hyndman and Fan 1996, type 7, as numpy's)."""
    ranked = sorted(latencies)
    rank, rest = divmod(9 * (len(ranked) - 1), 10)
    return ranked[rank] if rest == 0 else ranked[rank] + (ranked[rank + 1] - ranked[rank]) * rest / 10


def adjusted(changes: Sequence[list[Change]]) -> list[list[Change]]:
    """Return the same changes with their p-values adjusted for being many."""
    p_values = iter(holm([change.p_value for each in changes for change in each]))
    return [[replace(change, p_value=next(p_values)) for change in each] for each in changes]
