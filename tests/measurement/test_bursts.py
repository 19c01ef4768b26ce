"""Test cutting a recording into bursts."""

from __future__ import annotations

from slipway.measurement.bursts import Row, cut


def rows(count: int, *routes: str, hz: float = 60.0) -> list[Row]:
    """Return a recording of `count` requests per route, in turn."""
    return [
        Row(number / hz + 0.001 * place, route, 5.0) for number in range(count) for place, route in enumerate(routes)
    ]


def sizes(count: int, *, bursts: int = 20, requests: int | None = None) -> list[list[int]]:
    """Return the number of requests in each burst, for target and control, of a recording that also has another route."""
    window = cut(rows(count, "control", "other", "target"), ["target", "control"], bursts=bursts, requests=requests)
    per_burst = [[s.burst for s in measurement.samples] for measurement in window.measurements]
    return [[numbers.count(burst) for burst in range(window.bursts)] for numbers in per_burst]


def test_interleaved_routes_get_equal_bursts() -> None:
    """If there are exactly enough requests, every burst of both routes has exactly enough."""
    assert sizes(400) == [[20] * 20] * 2


def test_requests_of_a_burst_can_be_limited() -> None:
    """With a limit, only the first requests of each burst are used, spread over the whole recording."""
    assert sizes(1000, bursts=10, requests=7) == [[7] * 10] * 2


def test_bursts_are_cut_by_time() -> None:
    """A burst covers the same time for a route and for another route with twice as many requests."""
    recording = rows(400, "target") + rows(800, "control", hz=120.0)
    target, control = sorted(cut(recording, ["target", "control"]).measurements, key=lambda m: len(m.samples))
    for burst in range(20):
        spans = [[s.due_s for s in measurement.samples if s.burst == burst] for measurement in (target, control)]
        assert abs(spans[0][0] - spans[1][0]) < 0.02
        assert abs(spans[0][-1] - spans[1][-1]) < 0.02


def test_recording_is_pass_and_recorded() -> None:
    """The samples of a recording get the cache class pass and the identity recorded."""
    measurement = cut(rows(40, "target"), ["target"]).measurements[0]
    assert (measurement.identity, measurement.cache, len(measurement.samples)) == ("recorded", "pass", 40)


def test_unknown_route_leaves_an_empty_window() -> None:
    """An unknown route gives an empty window, which the judge calls inconclusive."""
    window = cut(rows(40, "target"), ["elsewhere"])
    assert (window.bursts, window.requests, window.measurements) == (0, 0, ())
