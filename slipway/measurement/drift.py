"""When the baseline of a series has drifted, and which points of a history are kept. Pure.

A baseline is what the windows since the last change were, without the newest ones. One odd window is noise (the medians of
a machine where nothing changes move by a quarter from one window to the next), so a drift takes three in a row: each
beyond Tukey's fence of the baseline (1.5 times the distance of the quartiles outside of them), all on one side, and
together by the margin and by half a millisecond. A quarter of the baseline may be odd without moving its fences, so a
drift that stays is told as one for days, and then is what is usual.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from slipway.measurement.history import Mark, Point, Series

NEWEST, FEWEST, MOST = 3, 12, 168  # windows: the newest ones, and at least and at most so many as a baseline
MARGIN, FLOOR_MS, FENCE = 0.25, 0.5, 1.5
WHOLE_FOR_S, DAILY_FOR_S = 30 * 86_400, 400 * 86_400
Drifted = Literal["", "slower", "faster"]


def series_of(points: Iterable[Point], marks: Sequence[Mark]) -> tuple[Series, ...]:
    """Every series of a history, in the order of their names."""
    lines: dict[tuple[str, str, str], list[Point]] = {}
    for point in sorted(points, key=lambda point: point.at):
        lines.setdefault(point.series, []).append(point)
    return tuple(_series(lines[name], marks) for name in sorted(lines))


def _series(points: Sequence[Point], marks: Sequence[Mark]) -> Series:
    changed = max((mark.at for mark in marks), default=None)
    medians = [p.median_ms for p in points if p.median_ms is not None and (changed is None or p.at > changed)]
    before, newest = medians[:-NEWEST], medians[-NEWEST:]
    baseline = before[-MOST:] if len(before) >= FEWEST else []
    drifted = _drifted(medians)
    last = points[-1]
    return Series(
        route=last.route,
        identity=last.identity,
        cache=last.cache,
        windows=len(points),
        baseline_ms=statistics.median(baseline) if baseline else None,
        baseline_windows=len(baseline),
        newest_ms=statistics.median(newest) if newest else None,
        drifted=drifted,
        since_newest=bool(drifted) and last.median_ms is not None and _drifted(medians[:-1]) != drifted,
    )


def _drifted(medians: Sequence[float]) -> Drifted:
    before, newest = medians[:-NEWEST], medians[-NEWEST:]
    if len(before) < FEWEST:
        return ""
    baseline = before[-MOST:]
    usual, now = statistics.median(baseline), statistics.median(newest)
    if abs(now - usual) < FLOOR_MS:
        return ""
    low, _, high = statistics.quantiles(baseline, n=4)
    reach = FENCE * (high - low)
    if now >= usual * (1 + MARGIN) and min(newest) > high + reach:
        return "slower"
    return "faster" if now <= usual / (1 + MARGIN) and max(newest) < low - reach else ""


def expired(points: Iterable[Point], age_s: Callable[[Point], float]) -> list[Point]:
    """The points that are kept no longer: beyond 30 days all of a day but its middle one, beyond 400 days all."""
    gone: list[Point] = []
    days: dict[tuple[tuple[str, str, str], object], list[Point]] = {}
    for point in points:
        if age_s(point) > DAILY_FOR_S:
            gone.append(point)
        elif age_s(point) > WHOLE_FOR_S:
            days.setdefault((point.series, point.at.date()), []).append(point)
    for day in days.values():
        ranked = sorted(day, key=lambda point: (point.median_ms is None, point.median_ms or 0.0, point.at))
        good = sum(point.median_ms is not None for point in ranked)
        kept = ranked[max(0, (good - 1) // 2)]
        gone += [point for point in ranked if point is not kept]
    return gone
