"""Judging on real noise: windows of a recording of 300 s during which nothing changed.

A pair of windows 15 to 60 s apart is an A/A comparison; a change is made by multiplying one route's latencies.
"""

from __future__ import annotations

import random
from collections import Counter
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

Shape = tuple[int, int]  # requests a burst and route, seconds over which the bursts are spread


@pytest.fixture(scope="module")
def recording() -> list[Row]:
    return read_recording(RECORDING)


@pytest.fixture(scope="module")
def routes(recording: list[Row]) -> dict[str, list[Row]]:
    return {route: [row for row in recording if row.route == route] for route in (TARGET, CONTROL)}


def window(routes: dict[str, list[Row]], start: int, shape: Shape, factor: float = 1.0) -> MeasuredWindow:
    """Return a window from the `start`th request on; a burst is consecutive requests, the rest is skipped."""
    requests, seconds = shape
    starts = [start + burst * seconds * PER_SECOND // BURSTS for burst in range(BURSTS)]
    measurements = []
    for route, times in ((TARGET, factor), (CONTROL, 1.0)):
        chosen = [(burst, row) for burst, first in enumerate(starts) for row in routes[route][first : first + requests]]
        samples = tuple(Sample(burst, row.due_s, row.latency_ms * times) for burst, row in chosen)
        measurements.append(
            Measurement.model_construct(route=route, identity="recorded", cache="pass", samples=samples)
        )
    return MeasuredWindow.model_construct(
        started_at="", seconds=seconds, bursts=BURSTS, requests=requests, measurements=tuple(measurements)
    )


def rates(routes: dict[str, list[Row]], shape: Shape, factor: float, trials: int) -> dict[str, float]:
    """Return the share of each verdict over `trials` pairs of windows, the later one's target made slower."""
    rng = random.Random(1)
    words: Counter[str] = Counter()
    length = shape[1] * PER_SECOND
    for _ in range(trials):
        apart = length + int(rng.uniform(15, 60) * PER_SECOND)
        start = rng.randrange(0, len(routes[CONTROL]) - apart - length)
        before, after = window(routes, start, shape), window(routes, start + apart, shape, factor)
        words[judge(before, after, [PAIR]).verdict] += 1
    return {word: words[word] / trials for word in get_args(VerdictWord)}


@pytest.mark.parametrize("shape", [(20, 20), (25, 20), (40, 20), (50, 20), (50, 40)])
def test_no_change_is_not_called_one(routes: dict[str, list[Row]], shape: Shape) -> None:
    """At most 1 % of the comparisons without a change are called regressed or improved."""
    found = rates(routes, shape, 1.0, trials=400)
    assert found["regressed"] + found["improved"] <= 0.01, found


@pytest.mark.parametrize(("factor", "word"), [(1.2, "regressed"), (0.8, "improved"), (2.0, "regressed")])
@pytest.mark.parametrize("shape", [(25, 20), (50, 20)])
def test_change_is_found(routes: dict[str, list[Row]], shape: Shape, factor: float, word: str) -> None:
    """A fifth more, a fifth less and twice as much are found in at least 95 % of the comparisons."""
    found = rates(routes, shape, factor, trials=100)
    assert found[word] >= 0.95, found


def test_most_quiet_comparisons_are_settled(routes: dict[str, list[Row]]) -> None:
    """With 20 bursts of 50 no more than one comparison in eight without a change stays inconclusive."""
    assert rates(routes, (50, 20), 1.0, trials=200)["inconclusive"] <= 0.125


@pytest.mark.parametrize(("factor", "words"), [(1.0, {"same", "environment-shift"}), (1.3, {"regressed"})])
def test_cut_recording_is_judged_alike(recording: list[Row], factor: float, words: set[str]) -> None:
    """Two recordings as the command line reads them, cut into bursts by time, are judged by the same rules."""
    before = [row for row in recording if 0 <= row.due_s < 60]
    after = [
        row._replace(latency_ms=row.latency_ms * (factor if row.route == TARGET else 1.0))
        for row in recording
        if 100 <= row.due_s < 160
    ]
    verdict = judge(cut(before, [TARGET, CONTROL]), cut(after, [TARGET, CONTROL]), [PAIR])
    assert verdict.verdict in words, verdict.sentence
