"""Test drift of a baseline, on generated histories and on recorded noise."""

from __future__ import annotations

import csv
import gzip
import random
import statistics
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from slipway.measurement.drift import MIN_BASELINE_WINDOWS, NEWEST_WINDOWS, expired, series_of
from slipway.measurement.history import Mark, Point, Series

START = datetime(2026, 3, 1, tzinfo=UTC)
RECORDING = Path(__file__).parents[1] / "recordings" / "quiet-300s.csv.gz"
STEADY = [9.8, 10.2, 10.0, 10.4, 9.6, 10.1, 9.9, 10.3, 9.7, 10.0, 10.2, 9.9]


def points(medians: Sequence[float | None], start: datetime = START, route: str = "/orders") -> list[Point]:
    """Return one window per hour."""
    return [
        Point(
            run_id=f"run-{number}",
            at=start + timedelta(hours=number),
            route=route,
            identity="customer",
            cache="pass",
            samples=100 if median is not None else 0,
            errors=0,
            median_ms=median,
            p90_ms=median,
        )
        for number, median in enumerate(medians)
    ]


def series_from(medians: Sequence[float | None], *marks: Mark) -> Series:
    """Return the only series of these windows."""
    [series] = series_of(points(medians), marks)
    return series


@pytest.mark.parametrize(
    ("newest", "drifted"),
    [
        ([10.0, 10.1, 9.9], ""),
        ([14.0, 13.5, 14.2], "slower"),
        ([7.0, 7.2, 6.9], "faster"),
        ([14.0, 10.0, 14.0], ""),  # not three in a row
        ([11.0, 11.1, 11.2], ""),  # above the whole baseline, but within the margin
    ],
)
def test_drift_needs_three_windows_in_a_row(newest: list[float], drifted: str) -> None:
    """A drift needs three windows that agree, outside the fence of the baseline and beyond the margin."""
    series = series_from([*STEADY, *newest])
    assert (series.drifted, series.baseline_ms, series.baseline_windows) == (drifted, 10.0, 12)
    assert series.since_newest == bool(drifted)
    assert ("as before" in series.sentence) == (not drifted)


def test_drift_is_new_only_once() -> None:
    """A drift is new only in the window with which it begins."""
    assert series_from([*STEADY, 14.0, 13.5, 14.2]).since_newest
    later = series_from([*STEADY, 14.0, 13.5, 14.2, 14.1])
    assert (later.drifted, later.since_newest) == ("slower", False)


def test_tiny_change_is_no_drift() -> None:
    """A change that is too small for users to notice is not reported, even in a very steady series."""
    assert series_from([value / 30 for value in STEADY] + [0.5, 0.51, 0.52]).drifted == ""


def test_change_starts_a_new_baseline() -> None:
    """A change starts a new baseline: it causes no drift, and no baseline exists until there are enough windows after it."""
    mark = Mark(at=START + timedelta(hours=len(STEADY) - 1, minutes=30), change="slower", came_of_it="kept")
    series = series_from([*STEADY, 14.0, 13.5, 14.2], mark)
    assert (series.drifted, series.baseline_ms) == ("", None)
    assert series.sentence == "/orders as customer (pass): no baseline yet, 15 windows."


def test_windows_without_a_median_cause_no_drift() -> None:
    """Windows without an error-free sample have no median, cause no drift and do not report a drift again."""
    series = series_from([*STEADY, 14.0, 13.5, 14.2, None])
    assert (series.windows, series.drifted, series.since_newest) == (16, "slower", False)
    assert series_from([None]).newest_ms is None


def test_series_are_separate_and_sorted() -> None:
    """Series are separate and sorted by name."""
    all_series = series_of([*points(STEADY), *points([1.0], route="/account")], [])
    assert [(series.route, series.windows) for series in all_series] == [("/account", 1), ("/orders", 12)]
    assert series_of([], []) == ()


def test_false_alarms_on_recorded_noise() -> None:
    """On windows of a recording without a change, shuffled in blocks, fewer than 1 % of the trials report a drift.

    Fewer than 5 % of the trials miss three windows that are slower by 60 %.
    """
    by_window: dict[int, list[float]] = defaultdict(list)
    with gzip.open(RECORDING, "rt") as file:
        for row in csv.DictReader(file):
            if row["route"] == "target_signed_in":
                by_window[int(float(row["due_s"]) // 5)].append(float(row["latency_ms"]))
    medians = [statistics.median(by_window[number]) for number in sorted(by_window)][:60]
    rng = random.Random(4)
    alarms, detected, trials = 0, 0, 2_000
    for _ in range(trials):
        starts = [rng.randrange(len(medians) - NEWEST_WINDOWS) for _ in range(9)]
        # Blocks keep neighbouring windows together.
        drawn = [medians[start + step] for start in starts for step in range(NEWEST_WINDOWS)]
        alarms += bool(series_from(drawn).drifted)
        slower = [*drawn[:-NEWEST_WINDOWS], *(1.6 * value for value in drawn[-NEWEST_WINDOWS:])]
        detected += series_from(slower).drifted == "slower"
    assert len(drawn) >= MIN_BASELINE_WINDOWS + NEWEST_WINDOWS
    assert alarms / trials < 0.01
    assert detected / trials > 0.95


def test_old_points_expire() -> None:
    """All points are kept for 30 days, then the median point of each day, and no points after 400 days."""
    now = START + timedelta(days=401)
    old, recent = points([3.0, 1.0]), points([2.0], now)
    daily = points([5.0, 1.0, 3.0, None], now - timedelta(days=100))
    expired_points = expired([*old, *daily, *recent], lambda point: (now - point.at).total_seconds())
    assert [point.median_ms for point in expired_points if point in old] == [3.0, 1.0]
    assert [point.median_ms for point in [*daily, *recent] if point not in expired_points] == [3.0, 2.0]
