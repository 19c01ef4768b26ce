"""Cutting a recording into bursts."""

from __future__ import annotations

from slipway.measurement.bursts import Row, cut


def rows(count: int, *routes: str, hz: float = 60.0) -> list[Row]:
    """Return a recording of `count` requests a route, asked in turn."""
    return [
        Row(number / hz + 0.001 * place, route, 5.0) for number in range(count) for place, route in enumerate(routes)
    ]


def sizes(count: int, *, bursts: int = 20, requests: int | None = None) -> list[list[int]]:
    """Return how many requests each burst got, for target and control, out of a recording that has another route."""
    window = cut(rows(count, "control", "other", "target"), ["target", "control"], bursts=bursts, requests=requests)
    per_burst = [[s.burst for s in each.samples] for each in window.measurements]
    return [[numbers.count(burst) for burst in range(window.bursts)] for numbers in per_burst]


def test_routes_asked_in_turn_get_equal_bursts() -> None:
    """Exactly enough requests make exactly enough in every burst, of both routes."""
    assert sizes(400) == [[20] * 20] * 2


def test_requests_of_a_burst_can_be_limited() -> None:
    """With a limit only the first requests of every burst count, spread over the whole recording."""
    assert sizes(1000, bursts=10, requests=7) == [[7] * 10] * 2


def test_bursts_are_cut_by_time() -> None:
    """A burst of one route covers the same time as the same burst of another that is asked twice as often."""
    recording = rows(400, "target") + rows(800, "control", hz=120.0)
    target, control = sorted(cut(recording, ["target", "control"]).measurements, key=lambda each: len(each.samples))
    for burst in range(20):
        spans = [[s.due_s for s in each.samples if s.burst == burst] for each in (target, control)]
        assert abs(spans[0][0] - spans[1][0]) < 0.02
        assert abs(spans[0][-1] - spans[1][-1]) < 0.02


def test_recording_is_pass_and_recorded() -> None:
    """What a recording does not know is filled in openly."""
    measurement = cut(rows(40, "target"), ["target"]).measurements[0]
    assert (measurement.identity, measurement.cache, len(measurement.samples)) == ("recorded", "pass", 40)


def test_unknown_route_leaves_an_empty_window() -> None:
    """Nothing to cut is an empty window, which judging calls inconclusive."""
    window = cut(rows(40, "target"), ["elsewhere"])
    assert (window.bursts, window.requests, window.measurements) == (0, 0, ())
