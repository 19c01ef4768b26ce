"""Test the judge on real noise: windows of a recording of 300 s during which nothing changed.

A pair of windows 15 to 60 s apart is an A/A comparison. A change is simulated by multiplying the latencies of one route.
"""

from __future__ import annotations

import random
from collections import Counter
from functools import partial
from pathlib import Path
from typing import get_args

import pytest

from slipway.config.change import Pair
from slipway.measurement.bursts import Row, cut
from slipway.measurement.judge import judge
from slipway.measurement.recordings import read_recording
from slipway.measurement.samples import MeasuredWindow, Measurement, Sample, VerdictWord

RECORDING = Path(__file__).parent.parent / "recordings" / "quiet-300s.csv.gz"
TARGET, CONTROL, PER_SECOND, BURSTS = "target_signed_in", "control", 60, 20
PAIR = Pair(route=TARGET, identity="recorded", control_route=CONTROL, control_identity="recorded")

Shape = tuple[int, int]  # requests per burst and route, length of the window in seconds


@pytest.fixture(scope="module")
def recording() -> list[Row]:
    return read_recording(RECORDING)


@pytest.fixture(scope="module")
def routes(recording: list[Row]) -> dict[str, list[Row]]:
    return {route: [row for row in recording if row.route == route] for route in (TARGET, CONTROL)}


def window(routes: dict[str, list[Row]], start: int, shape: Shape, factor: float = 1.0) -> MeasuredWindow:
    """Return a window from request `start` on; a burst consists of consecutive requests, and other requests are skipped."""
    requests, seconds = shape
    starts = [start + burst * seconds * PER_SECOND // BURSTS for burst in range(BURSTS)]
    measurements = []
    for route, times in ((TARGET, factor), (CONTROL, 1.0)):
        rows = routes[route]
        values = [
            (burst, row.due_s, row.latency_ms * times, "")
            for burst, first in enumerate(starts)
            for row in rows[first : first + requests]
        ]
        samples = tuple(
            map(partial(tuple.__new__, Sample), values)
        )  # a third of the time of `Sample(…)`; there are millions
        measurements.append(
            Measurement.model_construct(route=route, identity="recorded", cache="pass", samples=samples)
        )
    return MeasuredWindow.model_construct(
        started_at="", seconds=seconds, bursts=BURSTS, requests=requests, measurements=tuple(measurements)
    )


def rates(routes: dict[str, list[Row]], shape: Shape, factor: float, trials: int) -> dict[str, float]:
    """Return the share of each verdict over `trials` pairs of windows; `factor` changes the target in the later one."""
    rng = random.Random(1)
    counts: Counter[str] = Counter()
    length = shape[1] * PER_SECOND
    for _ in range(trials):
        apart = length + int(rng.uniform(15, 60) * PER_SECOND)
        start = rng.randrange(0, len(routes[CONTROL]) - apart - length)
        before, after = window(routes, start, shape), window(routes, start + apart, shape, factor)
        counts[judge(before, after, [PAIR]).verdict] += 1
    return {word: counts[word] / trials for word in get_args(VerdictWord)}


@pytest.mark.parametrize("shape", [(20, 20), (25, 20), (40, 20), (50, 20), (50, 40)])
def test_unchanged_service_gets_no_change_verdict(routes: dict[str, list[Row]], shape: Shape) -> None:
    """At most 1 % of the comparisons without a change are regressed or improved."""
    verdict_rates = rates(routes, shape, 1.0, trials=400)
    assert verdict_rates["regressed"] + verdict_rates["improved"] <= 0.01, verdict_rates


@pytest.mark.parametrize(("factor", "word"), [(1.2, "regressed"), (0.8, "improved"), (2.0, "regressed")])
@pytest.mark.parametrize("shape", [(25, 20), (50, 20)])
def test_change_is_detected(routes: dict[str, list[Row]], shape: Shape, factor: float, word: str) -> None:
    """Changes of +20 %, −20 % and +100 % are detected in at least 95 % of the comparisons."""
    verdict_rates = rates(routes, shape, factor, trials=100)
    assert verdict_rates[word] >= 0.95, verdict_rates


def test_most_unchanged_comparisons_are_conclusive(routes: dict[str, list[Row]]) -> None:
    """With 20 bursts of 50 requests, at most one in eight comparisons without a change is inconclusive."""
    assert rates(routes, (50, 20), 1.0, trials=200)["inconclusive"] <= 0.125


@pytest.mark.parametrize(("factor", "verdicts"), [(1.0, {"same", "environment-shift"}), (1.3, {"regressed"})])
def test_cut_recording_is_judged_by_the_same_rules(recording: list[Row], factor: float, verdicts: set[str]) -> None:
    """Recordings that are cut into bursts by time, as the command line does, are judged by the same rules."""
    before = [row for row in recording if 0 <= row.due_s < 60]
    after = [
        row._replace(latency_ms=row.latency_ms * (factor if row.route == TARGET else 1.0))
        for row in recording
        if 100 <= row.due_s < 160
    ]
    verdict = judge(cut(before, [TARGET, CONTROL]), cut(after, [TARGET, CONTROL]), [PAIR])
    assert verdict.verdict in verdicts, verdict.sentence
