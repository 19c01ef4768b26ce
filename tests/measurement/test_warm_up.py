"""Test when latency is settled, and which windows are cold."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest

from slipway.measurement.bursts import cut
from slipway.measurement.recordings import read_recording
from slipway.measurement.samples import MeasuredWindow, Measurement, Sample
from slipway.measurement.warm_up import cold_routes, remarks, settled

RECORDING = Path(__file__).parent.parent / "recordings" / "quiet-300s.csv.gz"
BURSTS, REQUESTS = 20, 5


@pytest.mark.parametrize(
    ("medians", "expected"),
    [
        ([], False),
        ([5.0, 5.0], False),
        ([5.0, 5.0, 5.0], True),
        ([90.0, 60.0, 30.0], False),
        ([90.0, 30.0, 30.0], False),
        ([90.0, 30.0, 30.0, 30.0], True),
        ([5.0, 4.7, 4.6], True),  # 8 % is noise
        ([50.0, 47.0, 44.0], False),  # 6 % twice is a fall of 12 %
        ([0.9, 0.6, 0.45], True),  # less than half a millisecond is noise
        ([30.0, 40.0, 60.0], True),  # getting slower is not warming up
        ([30.0, 60.0, 40.0], False),
        ([math.inf, math.inf, 40.0], False),
        ([math.inf, math.inf, math.inf], True),  # no request was sent, so no wait is needed
    ],
)
def test_settled(medians: list[float], expected: bool) -> None:
    """Latency is settled if no later one of the last three bursts is faster by 10 % and by 0.5 ms."""
    assert settled(medians) is expected


def window(*medians: float, **update: object) -> MeasuredWindow:
    """Return a window with these medians per burst, and one error per burst that must not count."""
    samples = [Sample(burst, 0.0, ms) for burst, ms in enumerate(medians) for _ in range(REQUESTS)]
    failed = [Sample(burst, 0.0, 5_000.0, "timeout") for burst in range(len(medians))]
    series = Measurement(route="/a", identity="anonymous", cache="hit", samples=tuple(sorted(samples + failed)))
    measured = MeasuredWindow(
        started_at="2026-01-01T00:00:00+00:00",
        seconds=16,
        bursts=len(medians),
        requests=REQUESTS,
        measurements=(series,),
    )
    return measured.model_copy(update=update)


COLD = "/a as anonymous (hit) got faster within the window, 5.2 → 0.32 ms"


@pytest.mark.parametrize(
    ("medians", "expected"),
    [
        ([5.2] * 5 + [0.32] * 15, (COLD,)),
        ([5.2] * 9 + [0.32] * 11, (COLD,)),
        ([0.32] * 20, ()),
        ([0.32] * 10 + [5.2] * 10, ()),  # slower is not cold
        ([18.0] * 10 + [10.0] * 10, ()),  # drift
        ([0.6] * 10 + [0.2] * 10, ()),  # less than half a millisecond
        ([100.0] + [10.0] * 19, ()),  # one slow burst
    ],
)
def test_cold(medians: list[float], expected: tuple[str, ...]) -> None:
    """The first quarter of a cold window is twice as slow as its second half."""
    assert cold_routes(window(*medians)) == expected


def test_window_with_errors_only_is_not_cold() -> None:
    """A window with errors only is not cold, because the judge checks errors."""
    empty = Measurement(route="/a", identity="anonymous", cache="miss", samples=(Sample(0, 0.0, 9.0, "timeout"),))
    assert cold_routes(window(*[5.0] * BURSTS, measurements=(empty,))) == ()


def test_windows_of_a_quiet_service_are_seldom_cold() -> None:
    """At most 5 % of the windows of a recording without a change are cold; all of these begin with a stall."""
    rows, rng = read_recording(RECORDING), random.Random(1)
    routes = sorted({row.route for row in rows})
    starts = [rng.uniform(0, 280) for _ in range(200)]
    windows = [cut([row for row in rows if start <= row.due_s < start + 16], routes) for start in starts]
    assert sum(bool(cold_routes(quiet_window)) for quiet_window in windows) <= 10


def test_remarks() -> None:
    """The remarks cover the warm-up, routes that had not settled, and a discarded window."""
    quiet = window(1.0)
    assert remarks(quiet) == []
    assert remarks(quiet.model_copy(update={"warm_up_s": 2.4})) == ["Warmed up for 2.4 s."]
    update = {"warm_up_s": 16.0, "unsettled": ("/a as alice", "/b as anonymous"), "discarded": (COLD,)}
    assert remarks(quiet.model_copy(update=update)) == [
        f"The first window was discarded, because the service was still warming up: {COLD}.",
        "Warmed up for 16.0 s.",
        "Latency was still falling when the window began: /a as alice, /b as anonymous.",
    ]
