"""Test the probe against a real server in a thread: which requests it counts, and from when.

No test depends on the speed of the machine: a request is late or lost only if the server makes it so.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import count
from statistics import median
from threading import Event, Lock
from typing import Any

import pytest

from slipway.config.service import Identity, Probe, Service
from slipway.core.errors import SlipwayError, Unavailable
from slipway.core.frozen import RouteAs
from slipway.measurement.pages import get, service_client
from slipway.measurement.probe import expected_seconds, measure, window_seconds
from slipway.measurement.samples import MeasuredWindow
from tests.sites import Answer, Request, Site

HIT = Answer(headers={"X-Cache": "HIT"})
PASS = Answer(headers={"X-Cache": "PASS"})
BURSTS, REQUESTS = 10, 10  # 100 samples per route
# Shorter than Probe allows, and with long timeouts, so that no request is lost on a slow machine.
GENTLE: dict[str, Any] = {
    "bursts": BURSTS,
    "requests": REQUESTS,
    "seconds": 0.5,
    "rate": 800,
    "timeout_s": 60,
    "in_flight": 1_000,
}


def identity(name: str) -> Identity:
    """Return a test user of the shop."""
    return Identity.model_validate(
        {
            "name": name,
            "sign_in": {"path": "/sign-in", "form": {"user": name}},
            "marker": f"Signed in as {name}",
            "marker_route": "/account",
        }
    )


def service(url: str, **probe: Any) -> Service:
    """Return the shop with two users."""
    gentle = Probe().model_copy(update=GENTLE | probe)
    shop = Service(name="shop", url=url, routes=("/*",), identities=(identity("alice"), identity("bob")))
    return shop.model_copy(update={"probe": gentle})


def routes(*names: str) -> list[RouteAs]:
    """Return the routes: `/a` is a route as anonymous, `/a alice` a route as an identity."""
    return [RouteAs.model_validate(dict(zip(("route", "identity"), name.split(), strict=False))) for name in names]


def counts(window: MeasuredWindow) -> dict[tuple[str, str, str], Mapping[str, int]]:
    """Return the number of samples per series and error ("" is none)."""
    return {
        (measurement.route, measurement.identity, measurement.cache): Counter(
            sample.error for sample in measurement.samples
        )
        for measurement in window.measurements
    }


class Phases:
    """A page whose answer depends on the number of requests since the window began; the warm-up gets `HIT`."""

    def __init__(self, page: Callable[[int], Answer]) -> None:
        self.page = page
        self.lock = Lock()
        self.window_begun = False
        self.warm_up = self.arrived = 0

    def __call__(self, _: Request) -> Answer:
        with self.lock:
            if not self.window_begun:
                self.warm_up += 1
                return HIT
            self.arrived += 1
            number = self.arrived
        return self.page(number)

    def begin(self, share: float) -> None:
        """Handle progress: the first call begins the window, after every response of the warm-up has arrived."""
        self.window_begun = True


def test_every_request_is_a_sample(site: Site) -> None:
    """Each route gets its warm-up, then exactly its samples, burst by burst, evenly over the window."""
    pages = site.pages["/a"], site.pages["/b"] = Phases(lambda _: HIT), Phases(lambda _: HIT)

    def begin(share: float) -> None:
        for page in pages:
            page.begin(share)

    window = measure(service(site.url), routes("/a", "/b", "/a"), progress=begin)
    assert counts(window) == {("/a", "anonymous", "hit"): {"": 100}, ("/b", "anonymous", "hit"): {"": 100}}
    assert (window.bursts, window.requests, window.seconds) == (BURSTS, REQUESTS, 0.5)
    assert [page.arrived for page in pages] == [100, 100]
    assert (
        pages[0].warm_up == pages[1].warm_up and pages[0].warm_up % REQUESTS == 1
    )  # the first request, and whole bursts
    for number, measurement in enumerate(window.measurements):
        assert [sample.burst for sample in measurement.samples] == [n // REQUESTS for n in range(100)]
        assert [sample.due_s for sample in measurement.samples] == [
            round((2 * n + number) * 0.0025, 4) for n in range(100)
        ]
        assert all(sample.latency_ms > 0 for sample in measurement.samples)


def test_routes_are_interleaved(site: Site) -> None:
    """Target and control are requested in turn, so that both are measured at the same times."""
    site.pages |= {"/a": HIT, "/b": HIT}
    window = measure(service(site.url), routes("/a", "/b"))
    due_a, due_b = ([sample.due_s for sample in measurement.samples] for measurement in window.measurements)
    due = sorted([(moment, "/a") for moment in due_a] + [(moment, "/b") for moment in due_b])
    assert [route for _, route in due] == ["/a", "/b"] * 100


def test_lower_rate_makes_the_window_longer() -> None:
    """The configured rate limits all routes together."""
    assert window_seconds(Probe(rate=50, bursts=20, requests=50, seconds=50), 1) == 50
    assert window_seconds(Probe(rate=50, bursts=20, requests=50, seconds=50), 4) == 80


def test_latency_counts_from_the_due_time(site: Site) -> None:
    """A server that stalls for 0.3 s delays every request that is due during the stall, not only one."""
    lock, stall = Lock(), Event()

    def page(_: Request) -> Answer:
        with lock:  # a server with one thread
            if stall.is_set():
                stall.clear()
                time.sleep(0.3)
        return HIT

    site.pages["/a"] = page
    half = BURSTS // 2 * REQUESTS  # the first request of burst 5
    set_at_half = lambda share: stall.set() if share == 0.5 else None  # noqa: E731
    window = measure(service(site.url, seconds=1.0), routes("/a"), progress=set_at_half)  # 100 in 1 s: 30 in 0.3 s
    [measurement] = window.measurements
    assert not any(sample.error for sample in measurement.samples)
    over = measurement.samples[half - 1].due_s + 0.3  # the stall begins after this request was sent
    during = [sample for sample in measurement.samples[half:] if sample.due_s < over]
    assert len(during) >= 25
    # Due times are rounded to 0.1 ms, latencies to 1 µs.
    assert all(sample.due_s + sample.latency_ms / 1_000 > over - 0.001 for sample in during)


def test_errors_are_labelled(site: Site) -> None:
    """An error page is a sample with its status, in the series of its cache class."""
    site.pages |= {"/a": Answer("", 500, {"X-Cache": "MISS"}), "/b": Answer("", 404), "/c": Answer("", 303)}
    window = measure(service(site.url), routes("/a", "/b", "/c"))
    assert counts(window) == {
        ("/a", "anonymous", "miss"): {"status 500": 100},
        ("/b", "anonymous", "pass"): {"status 404": 100},
        ("/c", "anonymous", "pass"): {"": 100},
    }


def test_redirect_is_not_followed(site: Site) -> None:
    """A redirect is measured as a response and not followed."""
    site.pages["/a"] = Answer("", 303, {"Location": "/elsewhere"})
    measure(service(site.url), routes("/a"))
    assert "/elsewhere" not in site.requested("GET")


def test_timeouts_are_labelled(site: Site) -> None:
    """A request without a response in time is a sample of the route's usual class, with its full latency."""
    released = Event()

    def hang_after_fifty(number: int) -> Answer:
        if number > 50:
            released.wait()
        return HIT

    site.pages["/a"], site.pages["/b"] = page, _ = Phases(hang_after_fifty), HIT
    try:
        window = measure(service(site.url, timeout_s=3), routes("/a", "/b"), progress=page.begin)
    finally:
        released.set()
    series_counts = counts(window)
    assert set(series_counts) == {("/a", "anonymous", "hit"), ("/b", "anonymous", "hit")}
    assert series_counts["/a", "anonymous", "hit"]["timeout"] >= 50
    assert all(set(kinds) <= {"", "timeout"} and sum(kinds.values()) == 100 for kinds in series_counts.values())
    late = [sample.latency_ms for sample in window.measurements[0].samples if sample.error]
    assert all(latency > 2_900 for latency in late)


def test_dropped_requests_are_counted(site: Site) -> None:
    """At the limit of requests in flight, further requests are not sent, and each is a sample with an error."""
    released = Event()

    def hang(_: int) -> Answer:
        released.wait()
        return HIT

    site.pages["/a"] = page = Phases(hang)

    def progress(share: float) -> None:
        page.begin(share)
        if share >= 0.9:
            released.set()

    window = measure(service(site.url, in_flight=5), routes("/a"), progress=progress)
    dropped = counts(window)["/a", "anonymous", "hit"]["dropped"]
    assert dropped >= 85  # 90 were due before the release, and 5 of them were in flight
    assert sum(counts(window)["/a", "anonymous", "hit"].values()) == 100
    assert page.arrived == 100 - dropped


def test_broken_connections_are_labelled(site: Site) -> None:
    """A connection that the server closes without a response is a sample with an error."""

    def hang_up_after_fifty(number: int) -> Answer:
        if number > 50:
            raise ConnectionAbortedError
        return HIT

    site.pages["/a"] = page = Phases(hang_up_after_fifty)
    series_counts = counts(measure(service(site.url), routes("/a"), progress=page.begin))
    assert series_counts["/a", "anonymous", "hit"] == {"": 50, "connection": 50}


def test_cache_classes_are_separate_series(site: Site) -> None:
    """Hits and misses of one route are separate series."""
    miss = Answer(headers={"X-Cache": "MISS"})
    site.pages["/a"] = page = Phases(lambda number: miss if number % 4 == 0 else HIT)
    assert counts(measure(service(site.url), routes("/a"), progress=page.begin)) == {
        ("/a", "anonymous", "hit"): {"": 75},
        ("/a", "anonymous", "miss"): {"": 25},
    }


def sign_in(request: Request) -> Answer:
    """Answer a sign-in and set a cookie."""
    return Answer("", 303, {"Location": "/account", "Set-Cookie": f"session={request.form['user']}; Path=/"})


def personal(request: Request) -> Answer:
    """Answer with the name of the signed-in user."""
    return Answer(f"Signed in as {request.cookie.removeprefix('session=') or 'nobody'}", headers=PASS.headers)


def test_each_identity_signs_in_once(site: Site) -> None:
    """Every identity has its own session, and no identity sends the cookie of another one."""
    site.pages |= {"POST /sign-in": sign_in, "/account": personal, "/a": personal}
    window = measure(service(site.url), routes("/a alice", "/a bob", "/a", "/a alice"))
    assert counts(window) == {("/a", name, "pass"): {"": 100} for name in ("alice", "anonymous", "bob")}
    assert site.non_get_requests() == ["POST /sign-in"] * 2
    cookies = Counter(request.cookie for request in site.requests if request.target == "/a")
    assert set(cookies) == {"session=alice", "session=bob", ""}
    assert len(set(cookies.values())) == 1  # the same warm-up and window for each


def test_failed_sign_in_stops_the_measurement(site: Site) -> None:
    """The measurement stops if the page does not show the marker."""
    site.pages |= {"POST /sign-in": Answer("wrong", 401), "/account": personal, "/a": personal}
    with pytest.raises(SlipwayError) as failed:
        measure(service(site.url), routes("/a alice"))
    assert failed.value.failed == (
        "Signing in to shop as alice failed: POST /sign-in answered 401, and /account does not show 'Signed in as alice'."
    )
    assert site.requested("GET") == ["/account"]


@pytest.mark.parametrize(
    ("name", "failed"),
    [
        ("/a", "Service shop does not answer /a: ConnectionRefusedError."),
        ("/a alice", "Service shop does not answer POST /sign-in: ConnectError."),
    ],
)
def test_unreachable_service_is_unavailable(name: str, failed: str) -> None:
    """A service that does not answer is Unavailable before any measurement."""
    with Site() as closed_site:
        url = closed_site.url
    with pytest.raises(Unavailable) as refused:
        measure(service(url), routes(name))
    assert refused.value.failed == failed


@pytest.mark.parametrize(("status", "headers", "minimum_s"), [(429, {"Retry-After": "2"}, 2.0), (503, {}, 1.0)])
def test_probe_pauses_after_429_or_503(site: Site, status: int, headers: dict[str, str], minimum_s: float) -> None:
    """After 429 or 503 the probe pauses for Retry-After, or for a second; the schedule shifts, and the response is an error."""
    busy = Answer("slower!", status, headers)
    site.pages["/a"] = page = Phases(lambda number: busy if number == 50 else HIT)
    began = time.monotonic()
    window = measure(service(site.url), routes("/a"), progress=page.begin)
    took = time.monotonic() - began
    series_counts = {label: count for kinds in counts(window).values() for label, count in kinds.items()}
    assert series_counts == {"": 99, f"status {status}": 1}
    assert took > minimum_s + 0.5
    # If the schedule did not shift, requests that are due during the pause would be late by most of the pause.
    last = sorted(sample for measurement in window.measurements for sample in measurement.samples)[60:]
    assert median(sample.latency_ms for sample in last) < 750 * minimum_s


def test_too_many_pauses_end_the_measurement(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """After five pauses, in the warm-up or in the window, another 429 ends the measurement with an error."""
    monkeypatch.setattr("slipway.measurement.backoff.FIRST_S", 0.01)
    numbers = count(1)
    site.pages["/a"] = lambda _: Answer("slower!", 429) if next(numbers) % 20 == 0 else HIT
    with pytest.raises(Unavailable, match="The service answered 429 or 503 again after 5 pauses in one measurement"):
        measure(service(site.url, requests=30), routes("/a"))


def warming(until: int) -> Callable[[Request], Answer]:
    """Return a page that is 1 s slow at first and gets faster with each request, as a cold service does."""
    numbers = count(1)

    def page(_: Request) -> Answer:
        time.sleep(max(0.0, 1 - next(numbers) / until))
        return HIT

    return page


def test_cold_service_is_warmed_up(site: Site) -> None:
    """The window does not begin while latency falls by a sixth of a second in each burst."""
    site.pages["/a"] = warming(until=60)
    request_counts: list[int] = []
    window = measure(
        service(site.url, seconds=2), routes("/a"), progress=lambda _: request_counts.append(len(site.requests))
    )
    assert request_counts[0] >= 60
    assert window.warm_up_s > 1


def test_warm_up_has_a_limit(site: Site) -> None:
    """A service whose latency keeps falling is measured after as many bursts as a window has, and the window reports this."""
    numbers = count()

    def page(_: Request) -> Answer:
        time.sleep(0.2 * 0.98 ** next(numbers))  # 18 % faster in each burst
        return HIT

    site.pages["/a"] = page
    request_counts: list[int] = []
    window = measure(service(site.url), routes("/a"), progress=lambda _: request_counts.append(len(site.requests)))
    assert request_counts[0] <= 1 + BURSTS * REQUESTS
    assert (window.unsettled == ("/a as anonymous",)) == (request_counts[0] == 1 + BURSTS * REQUESTS)


def test_warm_up_keeps_to_the_rate(site: Site) -> None:
    """The warm-up sends no more requests per second than the window."""
    arrived: list[float] = []

    def page(_: Request) -> Answer:
        arrived.append(time.monotonic())
        return HIT

    site.pages["/a"] = page
    window_starts: list[float] = []
    measure(service(site.url), routes("/a"), progress=lambda _: window_starts.append(time.monotonic()))
    bursts = (sum(moment < window_starts[0] for moment in arrived) - 1) // REQUESTS
    assert bursts >= 3
    assert window_starts[0] - arrived[0] >= (bursts * REQUESTS - 1) * 0.005


def test_expected_duration_includes_the_shortest_warm_up() -> None:
    """The expected duration is that of the window and its shortest warm-up."""
    assert expected_seconds(Probe(rate=50, bursts=20, requests=50, seconds=50), 1) == pytest.approx(57.5)


def test_progress_is_reported_once_per_burst(site: Site) -> None:
    """Progress goes from 0 to 1, once per burst."""
    site.pages["/a"] = HIT
    reported: list[float] = []
    measure(service(site.url), routes("/a"), progress=reported.append)
    assert reported == [pytest.approx(burst / BURSTS) for burst in range(BURSTS)] + [1.0]


def test_request_target_is_the_same_as_for_inspect_and_purge(site: Site) -> None:
    """The probe sends the same request targets as inspect and purge: escapes stay, and other characters are escaped."""
    escaped, plain = "/a/%C3%A4%2Fb?q=%C3%A4%20b&r=a+b%2Fc%26d", "/ü?q=ä|b"
    site.pages |= {escaped: HIT, "/%C3%BC?q=%C3%A4|b": HIT}
    window = measure(service(site.url), routes(escaped, plain))
    assert counts(window) == {(route, "anonymous", "hit"): {"": 100} for route in (escaped, plain)}
    targets = set(site.requested("GET"))
    with service_client(service(site.url), None) as client:
        for route in (escaped, plain):
            get(client, route, "shop")
    assert set(site.requested("GET")) == targets
