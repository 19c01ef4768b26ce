"""Decide whether the baseline of a series has drifted, and which points of a history expire. Pure.

A baseline consists of the windows since the last change, without the newest ones. One odd window is noise: on a machine
where nothing changes, medians differ by a quarter from one window to the next. A drift therefore needs three windows in a
row. Each is outside Tukey's fence of the baseline (1.5 times the interquartile range beyond the quartiles), all on one
side, and their median differs by the margin and by half a millisecond. A quarter of the baseline may be odd without
moving the fence. A lasting drift is therefore reported for days, until it becomes the baseline.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from slipway.measurement.history import Mark, Point, Series

NEWEST_WINDOWS, MIN_BASELINE_WINDOWS, MAX_BASELINE_WINDOWS = 3, 12, 168
MARGIN, FLOOR_MS, FENCE = 0.25, 0.5, 1.5
ALL_KEPT_FOR_S, DAILY_KEPT_FOR_S = 30 * 86_400, 400 * 86_400
Drift = Literal["", "slower", "faster"]


def series_of(points: Iterable[Point], marks: Sequence[Mark]) -> tuple[Series, ...]:
    """Return every series of a history, sorted by name."""
    points_by_series: dict[tuple[str, str, str], list[Point]] = {}
    for point in sorted(points, key=lambda point: point.at):
        points_by_series.setdefault(point.series, []).append(point)
    return tuple(_series(points_by_series[name], marks) for name in sorted(points_by_series))


def _series(points: Sequence[Point], marks: Sequence[Mark]) -> Series:
    changed = max((mark.at for mark in marks), default=None)
    medians = [p.median_ms for p in points if p.median_ms is not None and (changed is None or p.at > changed)]
    before, newest = medians[:-NEWEST_WINDOWS], medians[-NEWEST_WINDOWS:]
    baseline = before[-MAX_BASELINE_WINDOWS:] if len(before) >= MIN_BASELINE_WINDOWS else []
    drifted = _drift(medians)
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
        since_newest=bool(drifted) and last.median_ms is not None and _drift(medians[:-1]) != drifted,
    )


def _drift(medians: Sequence[float]) -> Drift:
    before, newest = medians[:-NEWEST_WINDOWS], medians[-NEWEST_WINDOWS:]
    if len(before) < MIN_BASELINE_WINDOWS:
        return ""
    baseline = before[-MAX_BASELINE_WINDOWS:]
    baseline_ms, newest_ms = statistics.median(baseline), statistics.median(newest)
    if abs(newest_ms - baseline_ms) < FLOOR_MS:
        return ""
    low, _, high = statistics.quantiles(baseline, n=4)
    fence = FENCE * (high - low)
    if newest_ms >= baseline_ms * (1 + MARGIN) and min(newest) > high + fence:
        return "slower"
    return "faster" if newest_ms <= baseline_ms / (1 + MARGIN) and max(newest) < low - fence else ""


def expired(points: Iterable[Point], age_s: Callable[[Point], float]) -> list[Point]:
    """Return the points to delete: after 30 days all but the median point of each day, after 400 days all."""
    expired_points: list[Point] = []
    days: dict[tuple[tuple[str, str, str], object], list[Point]] = {}
    for point in points:
        if age_s(point) > DAILY_KEPT_FOR_S:
            expired_points.append(point)
        elif age_s(point) > ALL_KEPT_FOR_S:
            days.setdefault((point.series, point.at.date()), []).append(point)
    for day in days.values():
        ranked = sorted(day, key=lambda point: (point.median_ms is None, point.median_ms or 0.0, point.at))
        count = sum(point.median_ms is not None for point in ranked)
        middle = ranked[max(0, (count - 1) // 2)]
        expired_points += [point for point in ranked if point is not middle]
    return expired_points
