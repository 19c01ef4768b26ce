"""The probe against a real server in a thread: what it counts, and from when.

No test depends on how fast the machine is: a request is only late or lost if the server makes it so.
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
from slipway.measurement.pages import get, visitor
from slipway.measurement.probe import expected_seconds, measure, window_seconds
from slipway.measurement.samples import MeasuredWindow
from tests.sites import Answer, Request, Site

HIT = Answer(headers={"X-Cache": "HIT"})
PASS = Answer(headers={"X-Cache": "PASS"})
BURSTS, REQUESTS = 10, 10  # of each route: 100 samples
# Shorter than what an owner may set (Probe holds the limits), and patient: nothing is lost because the machine is slow.
GENTLE: dict[str, Any] = {
    "bursts": BURSTS,
    "requests": REQUESTS,
    "seconds": 0.5,
    "rate": 800,
    "timeout_s": 60,
    "in_flight": 1_000,
}


def identity(name: str) -> Identity:
    """A test user of the shop."""
    return Identity.model_validate(
        {
            "name": name,
            "sign_in": {"path": "/sign-in", "form": {"user": name}},
            "marker": f"Signed in as {name}",
            "marker_route": "/account",
        }
    )


def service(url: str, **probe: Any) -> Service:
    """The shop with two users."""
    gentle = Probe().model_copy(update=GENTLE | probe)
    shop = Service(name="shop", url=url, routes=("/*",), identities=(identity("alice"), identity("bob")))
    return shop.model_copy(update={"probe": gentle})


def routes(*names: str) -> list[RouteAs]:
    """`/a` is the route for anybody, `/a alice` the route as an identity."""
    return [RouteAs.model_validate(dict(zip(("route", "identity"), name.split(), strict=False))) for name in names]


def counts(window: MeasuredWindow) -> dict[tuple[str, str, str], Mapping[str, int]]:
    """How many samples of each kind of error ("" is none) each series has."""
    return {
        (found.route, found.identity, found.cache): Counter(sample.error for sample in found.samples)
        for found in window.measurements
    }


class Phases:
    """A page that answers by how many requests have arrived since the window began; the warm-up gets `HIT`."""

    def __init__(self, page: Callable[[int], Answer]) -> None:
        self.page = page
        self.lock = Lock()
        self.begun = False
        self.warm_up = self.arrived = 0

    def __call__(self, _: Request) -> Answer:
        with self.lock:
            if not self.begun:
                self.warm_up += 1
                return HIT
            self.arrived += 1
            number = self.arrived
        return self.page(number)

    def begin(self, share: float) -> None:
        """The probe's progress: the window begins with the first call, when every answer of the warm-up has arrived."""
        self.begun = True


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
    assert pages[0].warm_up == pages[1].warm_up and pages[0].warm_up % REQUESTS == 1  # the first answer, and bursts
    for number, found in enumerate(window.measurements):
        assert [sample.burst for sample in found.samples] == [n // REQUESTS for n in range(100)]
        assert [sample.due_s for sample in found.samples] == [round((2 * n + number) * 0.0025, 4) for n in range(100)]
        assert all(sample.latency_ms > 0 for sample in found.samples)


def test_routes_are_interleaved(site: Site) -> None:
    """Target and control are asked in turn, request by request, so that both see the same moments."""
    site.pages |= {"/a": HIT, "/b": HIT}
    window = measure(service(site.url), routes("/a", "/b"))
    a, b = ([sample.due_s for sample in found.samples] for found in window.measurements)
    due = sorted([(moment, "/a") for moment in a] + [(moment, "/b") for moment in b])
    assert [route for _, route in due] == ["/a", "/b"] * 100


def test_a_window_is_longer_where_the_owner_asks_for_a_lower_rate() -> None:
    """The rate that the owner allows counts for all routes together."""
    assert window_seconds(Probe(rate=50, bursts=20, requests=50, seconds=50), 1) == 50
    assert window_seconds(Probe(rate=50, bursts=20, requests=50, seconds=50), 4) == 80


def test_latency_counts_from_the_moment_a_request_was_due(site: Site) -> None:
    """A server that stalls for 0.3 s makes all requests late that were due during that time, not only one."""
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
    [found] = window.measurements
    assert not any(sample.error for sample in found.samples)
    over = found.samples[half - 1].due_s + 0.3  # the stall begins after this request was sent
    during = [sample for sample in found.samples[half:] if sample.due_s < over]
    assert len(during) >= 25
    # Due times are rounded to 0.1 ms, latencies to 1 µs.
    assert all(sample.due_s + sample.latency_ms / 1_000 > over - 0.001 for sample in during)


def test_errors_are_labelled(site: Site) -> None:
    """An error page is a sample with its status, in the series of the cache class that it came with."""
    site.pages |= {"/a": Answer("", 500, {"X-Cache": "MISS"}), "/b": Answer("", 404), "/c": Answer("", 303)}
    window = measure(service(site.url), routes("/a", "/b", "/c"))
    assert counts(window) == {
        ("/a", "anonymous", "miss"): {"status 500": 100},
        ("/b", "anonymous", "pass"): {"status 404": 100},
        ("/c", "anonymous", "pass"): {"": 100},
    }


def test_a_redirect_is_not_followed(site: Site) -> None:
    """A redirect is measured as the answer that it is."""
    site.pages["/a"] = Answer("", 303, {"Location": "/elsewhere"})
    measure(service(site.url), routes("/a"))
    assert "/elsewhere" not in site.asked("GET")


def test_time_outs_are_labelled(site: Site) -> None:
    """A request without an answer in time is a sample of the route's usual class, as late as it was."""
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
    found = counts(window)
    assert set(found) == {("/a", "anonymous", "hit"), ("/b", "anonymous", "hit")}
    assert found["/a", "anonymous", "hit"]["timeout"] >= 50
    assert all(set(kinds) <= {"", "timeout"} and sum(kinds.values()) == 100 for kinds in found.values())
    late = [sample.latency_ms for sample in window.measurements[0].samples if sample.error]
    assert all(latency > 2_900 for latency in late)


def test_what_the_cap_drops_is_counted(site: Site) -> None:
    """With the cap in flight, further requests are not sent, and each of them is a sample."""
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


def test_a_connection_that_breaks_is_labelled(site: Site) -> None:
    """A server that closes the connection without an answer is a sample too."""

    def hang_up_after_fifty(number: int) -> Answer:
        if number > 50:
            raise ConnectionAbortedError
        return HIT

    site.pages["/a"] = page = Phases(hang_up_after_fifty)
    found = counts(measure(service(site.url), routes("/a"), progress=page.begin))
    assert found["/a", "anonymous", "hit"] == {"": 50, "connection": 50}


def test_cache_classes_are_kept_apart(site: Site) -> None:
    """Hits and misses of one route are two series."""
    miss = Answer(headers={"X-Cache": "MISS"})
    site.pages["/a"] = page = Phases(lambda number: miss if number % 4 == 0 else HIT)
    assert counts(measure(service(site.url), routes("/a"), progress=page.begin)) == {
        ("/a", "anonymous", "hit"): {"": 75},
        ("/a", "anonymous", "miss"): {"": 25},
    }


def sign_in(request: Request) -> Answer:
    """A sign-in that sets a cookie."""
    return Answer("", 303, {"Location": "/account", "Set-Cookie": f"session={request.form['user']}; Path=/"})


def personal(request: Request) -> Answer:
    """A page for who is signed in."""
    return Answer(f"Signed in as {request.cookie.removeprefix('session=') or 'nobody'}", headers=PASS.headers)


def test_each_identity_signs_in_once(site: Site) -> None:
    """Every identity has its own session, and nobody sends another's cookie."""
    site.pages |= {"POST /sign-in": sign_in, "/account": personal, "/a": personal}
    window = measure(service(site.url), routes("/a alice", "/a bob", "/a", "/a alice"))
    assert counts(window) == {("/a", name, "pass"): {"": 100} for name in ("alice", "anonymous", "bob")}
    assert site.written() == ["POST /sign-in"] * 2
    cookies = Counter(request.cookie for request in site.requests if request.target == "/a")
    assert set(cookies) == {"session=alice", "session=bob", ""}
    assert len(set(cookies.values())) == 1  # each its own warm-up and window


def test_a_sign_in_that_fails(site: Site) -> None:
    """Without the marker nothing is measured."""
    site.pages |= {"POST /sign-in": Answer("wrong", 401), "/account": personal, "/a": personal}
    with pytest.raises(SlipwayError) as failed:
        measure(service(site.url), routes("/a alice"))
    assert failed.value.failed == (
        "Signing in to shop as alice failed: POST /sign-in answered 401, and /account does not show 'Signed in as alice'."
    )
    assert site.asked("GET") == ["/account"]


@pytest.mark.parametrize(
    ("name", "failed"),
    [
        ("/a", "Service shop does not answer /a: ConnectionRefusedError."),
        ("/a alice", "Service shop does not answer POST /sign-in: ConnectError."),
    ],
)
def test_a_service_that_is_away(name: str, failed: str) -> None:
    """A service that does not answer is Unavailable before anything is measured."""
    with Site() as gone:
        url = gone.url
    with pytest.raises(Unavailable) as refused:
        measure(service(url), routes(name))
    assert refused.value.failed == failed


@pytest.mark.parametrize(("status", "headers", "least_s"), [(429, {"Retry-After": "2"}, 2.0), (503, {}, 1.0)])
def test_a_service_that_asks_for_a_rest(site: Site, status: int, headers: dict[str, str], least_s: float) -> None:
    """It is left alone for as long as it says, or a second; the schedule moves, and the answer counts as an error."""
    busy = Answer("slower!", status, headers)
    site.pages["/a"] = page = Phases(lambda number: busy if number == 50 else HIT)
    began = time.monotonic()
    window = measure(service(site.url), routes("/a"), progress=page.begin)
    took = time.monotonic() - began
    found = {label: count for kinds in counts(window).values() for label, count in kinds.items()}
    assert found == {"": 99, f"status {status}": 1}
    assert took > least_s + 0.5
    # Without a rest in the schedule, all requests that are due during the rest would be late by the most of it.
    last = sorted(sample for measurement in window.measurements for sample in measurement.samples)[60:]
    assert median(sample.latency_ms for sample in last) < 750 * least_s


def test_a_service_that_asks_for_rest_again_and_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """After five rests, in the warm-up or in the window, the measurement ends with an error that says so."""
    monkeypatch.setattr("slipway.measurement.backoff.FIRST_S", 0.01)
    numbers = count(1)
    site.pages["/a"] = lambda _: Answer("slower!", 429) if next(numbers) % 20 == 0 else HIT
    with pytest.raises(Unavailable, match="The service has asked for a rest 6 times in one measurement"):
        measure(service(site.url, requests=30), routes("/a"))


def warming(until: int) -> Callable[[Request], Answer]:
    """A page that is 1 s slow for its first requests and gets faster with each, as a cold service does."""
    numbers = count(1)

    def page(_: Request) -> Answer:
        time.sleep(max(0.0, 1 - next(numbers) / until))
        return HIT

    return page


def test_a_cold_service_is_warmed_up(site: Site) -> None:
    """The window does not begin while latency falls by a sixth of a second in each burst."""
    site.pages["/a"] = warming(until=60)
    asked: list[int] = []
    window = measure(service(site.url, seconds=2), routes("/a"), progress=lambda _: asked.append(len(site.requests)))
    assert asked[0] >= 60
    assert window.warm_up_s > 1


def test_a_warm_up_has_a_limit(site: Site) -> None:
    """A service whose latency never stops falling is measured after as many bursts as a window has, and it is said."""
    numbers = count()

    def page(_: Request) -> Answer:
        time.sleep(0.2 * 0.98 ** next(numbers))  # 18 % faster in each burst
        return HIT

    site.pages["/a"] = page
    asked: list[int] = []
    window = measure(service(site.url), routes("/a"), progress=lambda _: asked.append(len(site.requests)))
    assert asked[0] <= 1 + BURSTS * REQUESTS
    assert (window.unsettled == ("/a as anonymous",)) == (asked[0] == 1 + BURSTS * REQUESTS)


def test_a_warm_up_keeps_to_the_rate(site: Site) -> None:
    """The warm-up sends no more requests a second than the window."""
    arrived: list[float] = []

    def page(_: Request) -> Answer:
        arrived.append(time.monotonic())
        return HIT

    site.pages["/a"] = page
    begun: list[float] = []
    measure(service(site.url), routes("/a"), progress=lambda _: begun.append(time.monotonic()))
    bursts = (sum(moment < begun[0] for moment in arrived) - 1) // REQUESTS
    assert bursts >= 3
    assert begun[0] - arrived[0] >= (bursts * REQUESTS - 1) * 0.005


def test_a_measurement_takes_as_long_as_its_window_and_its_shortest_warm_up() -> None:
    """What a person who waits can expect."""
    assert expected_seconds(Probe(rate=50, bursts=20, requests=50, seconds=50), 1) == pytest.approx(57.5)


def test_progress_is_told(site: Site) -> None:
    """Progress goes from 0 to 1, once a burst."""
    site.pages["/a"] = HIT
    told: list[float] = []
    measure(service(site.url), routes("/a"), progress=told.append)
    assert told == [pytest.approx(burst / BURSTS) for burst in range(BURSTS)] + [1.0]


def test_a_route_is_asked_for_as_it_is_written(site: Site) -> None:
    """What is measured is what is inspected and purged: escapes stay what they are, and the rest is escaped alike."""
    escaped, plain = "/a/%C3%A4%2Fb?q=%C3%A4%20b&r=a+b%2Fc%26d", "/ü?q=ä|b"
    site.pages |= {escaped: HIT, "/%C3%BC?q=%C3%A4|b": HIT}
    window = measure(service(site.url), routes(escaped, plain))
    assert counts(window) == {(route, "anonymous", "hit"): {"": 100} for route in (escaped, plain)}
    asked = set(site.asked("GET"))
    with visitor(service(site.url), None) as client:
        for route in (escaped, plain):
            get(client, route, "shop")
    assert set(site.asked("GET")) == asked
