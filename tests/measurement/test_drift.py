"""When a baseline has drifted, on made-up histories and on noise as it was recorded."""

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

from slipway.measurement.drift import FEWEST, NEWEST, expired, series_of
from slipway.measurement.history import Mark, Point, Series

START = datetime(2026, 3, 1, tzinfo=UTC)
RECORDING = Path(__file__).parents[1] / "recordings" / "quiet-300s.csv.gz"
STEADY = [9.8, 10.2, 10.0, 10.4, 9.6, 10.1, 9.9, 10.3, 9.7, 10.0, 10.2, 9.9]


def points(medians: Sequence[float | None], start: datetime = START, route: str = "/orders") -> list[Point]:
    """A window an hour."""
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


def one(medians: Sequence[float | None], *marks: Mark) -> Series:
    """The one series of these windows."""
    [found] = series_of(points(medians), marks)
    return found


@pytest.mark.parametrize(
    ("newest", "drifted"),
    [
        ([10.0, 10.1, 9.9], ""),
        ([14.0, 13.5, 14.2], "slower"),
        ([7.0, 7.2, 6.9], "faster"),
        ([14.0, 10.0, 14.0], ""),  # not three in a row
        ([11.0, 11.1, 11.2], ""),  # above all of the baseline, and within the margin
    ],
)
def test_three_windows_in_a_row(newest: list[float], drifted: str) -> None:
    """They have to agree, outside of what the baseline was, by the margin."""
    found = one([*STEADY, *newest])
    assert (found.drifted, found.baseline_ms, found.baseline_windows) == (drifted, 10.0, 12)
    assert found.since_newest == bool(drifted)
    assert ("as before" in found.sentence) == (not drifted)


def test_a_drift_is_new_once() -> None:
    """The window behind it finds it there already."""
    assert one([*STEADY, 14.0, 13.5, 14.2]).since_newest
    later = one([*STEADY, 14.0, 13.5, 14.2, 14.1])
    assert (later.drifted, later.since_newest) == ("slower", False)


def test_a_tenth_of_a_millisecond_is_no_drift() -> None:
    """However steady a cache hit is, what nobody can feel is not told."""
    assert one([value / 30 for value in STEADY] + [0.5, 0.51, 0.52]).drifted == ""


def test_a_change_begins_a_baseline() -> None:
    """What a change made slower on purpose is no drift, and there is no baseline until enough windows are behind it."""
    mark = Mark(at=START + timedelta(hours=len(STEADY) - 1, minutes=30), change="slower", came_of_it="kept")
    found = one([*STEADY, 14.0, 13.5, 14.2], mark)
    assert (found.drifted, found.baseline_ms) == ("", None)
    assert found.sentence == "/orders as customer (pass): no baseline yet, 15 windows."


def test_windows_without_a_good_sample() -> None:
    """They are no numbers: a service that was away has not become slower, and its last window tells no drift anew."""
    found = one([*STEADY, 14.0, 13.5, 14.2, None])
    assert (found.windows, found.drifted, found.since_newest) == (16, "slower", False)
    assert one([None]).newest_ms is None


def test_series_are_apart() -> None:
    """Each by itself, in the order of their names."""
    found = series_of([*points(STEADY), *points([1.0], route="/account")], [])
    assert [(series.route, series.windows) for series in found] == [("/account", 1), ("/orders", 12)]
    assert series_of([], []) == ()


def test_false_alarms_on_recorded_noise() -> None:
    """Windows of a recording in which nothing changed, shuffled in blocks: a drift in fewer than one of a hundred.

    And of three windows that are slower by 60 %, it misses fewer than one in twenty.
    """
    by_window: dict[int, list[float]] = defaultdict(list)
    with gzip.open(RECORDING, "rt") as file:
        for row in csv.DictReader(file):
            if row["route"] == "target_signed_in":
                by_window[int(float(row["due_s"]) // 5)].append(float(row["latency_ms"]))
    medians = [statistics.median(by_window[number]) for number in sorted(by_window)][:60]
    rng = random.Random(4)
    alarms, found, trials = 0, 0, 2_000
    for _ in range(trials):
        starts = [rng.randrange(len(medians) - NEWEST) for _ in range(9)]
        drawn = [medians[start + step] for start in starts for step in range(NEWEST)]  # neighbours stay together
        alarms += bool(one(drawn).drifted)
        found += one([*drawn[:-NEWEST], *(1.6 * value for value in drawn[-NEWEST:])]).drifted == "slower"
    assert len(drawn) >= FEWEST + NEWEST
    assert alarms / trials < 0.01
    assert found / trials > 0.95


def test_what_is_kept() -> None:
    """Thirty days whole, then the middle one of each day, and nothing beyond 400 days."""
    now = START + timedelta(days=401)
    old, daily, whole = points([3.0, 1.0]), points([5.0, 1.0, 3.0, None], now - timedelta(days=100)), points([2.0], now)
    gone = expired([*old, *daily, *whole], lambda point: (now - point.at).total_seconds())
    assert [point.median_ms for point in gone if point in old] == [3.0, 1.0]
    assert [point.median_ms for point in [*daily, *whole] if point not in gone] == [3.0, 2.0]
