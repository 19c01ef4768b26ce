"""The probe against a real server in a thread: what it counts, and from when."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from threading import Event, Lock
from typing import Any

import pytest

from slipway.adapters.pages import get, visitor
from slipway.adapters.probe import WARM_UP, measure, window_seconds
from slipway.errors import SlipwayError, Unavailable
from slipway.measurement import MeasuredWindow
from slipway.noun import RouteAs
from slipway.service import Identity, Probe, Service
from tests.sites import Answer, Request, Site

HIT = Answer(headers={"X-Cache": "HIT"})
PASS = Answer(headers={"X-Cache": "PASS"})
BURSTS, REQUESTS = 10, 10  # of each route: 100 samples
# Smaller and shorter than what an owner may set (Probe holds the limits).
GENTLE: dict[str, Any] = {"bursts": BURSTS, "requests": REQUESTS, "seconds": 0.5, "rate": 800}


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


def test_every_request_is_a_sample(site: Site) -> None:
    """Each route gets its warm-up, then exactly its samples, burst by burst, evenly over the window."""
    site.pages |= {"/a": HIT, "/b": HIT}
    window = measure(service(site.url), routes("/a", "/b", "/a"))
    assert counts(window) == {("/a", "anonymous", "hit"): {"": 100}, ("/b", "anonymous", "hit"): {"": 100}}
    assert (window.bursts, window.requests, window.seconds) == (BURSTS, REQUESTS, 0.5)
    assert Counter(site.asked("GET")) == {"/a": 100 + WARM_UP, "/b": 100 + WARM_UP}
    for number, found in enumerate(window.measurements):
        assert [sample.burst for sample in found.samples] == [n // REQUESTS for n in range(100)]
        assert [sample.due_s for sample in found.samples] == [round((2 * n + number) * 0.0025, 4) for n in range(100)]
        assert all(0 < sample.latency_ms < 1_000 for sample in found.samples)


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
    """A server that stands still for 0.3 s shows in all requests that were due meanwhile, not in one."""
    seen, first, lock = Counter[str](), Event(), Lock()

    def stall(request: Request) -> Answer:
        with lock:  # a server with one thread
            seen["all"] += 1
            if seen["all"] == WARM_UP + 20 and not first.is_set():
                first.set()
                time.sleep(0.3)
        return HIT

    site.pages["/a"] = stall
    window = measure(service(site.url, seconds=1.0), routes("/a"))  # 100 in 1 s: 30 are due in 0.3 s
    [found] = window.measurements
    late = [sample for sample in found.samples if sample.latency_ms > 50]
    assert not any(sample.error for sample in found.samples)
    assert 20 <= len(late) <= 40
    falling = [sample.latency_ms for sample in late[:20]]
    assert falling[0] > 250 and falling == sorted(falling, reverse=True)


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


def slow_after(warm_up: int, released: Event) -> Any:
    """A page that hangs after the warm-up until it is released."""
    seen = Counter[str]()

    def page(_: Request) -> Answer:
        seen["all"] += 1
        if seen["all"] > warm_up:
            released.wait(20)
        return HIT

    return page


def test_time_outs_are_labelled(site: Site) -> None:
    """A request without an answer in time is a sample of the route's usual class, as late as it was."""
    released = Event()
    site.pages |= {"/a": slow_after(WARM_UP + 50, released), "/b": HIT}
    window = measure(service(site.url, timeout_s=0.2, in_flight=1_000), routes("/a", "/b"))
    released.set()
    assert counts(window) == {
        ("/a", "anonymous", "hit"): {"": 50, "timeout": 50},
        ("/b", "anonymous", "hit"): {"": 100},
    }
    late = [sample.latency_ms for sample in window.measurements[0].samples if sample.error]
    assert all(190 < latency < 1_000 for latency in late)


def test_what_the_cap_drops_is_counted(site: Site) -> None:
    """With the cap in flight, further requests are not sent, and each of them is a sample."""
    released = Event()
    site.pages["/a"] = slow_after(WARM_UP, released)
    window = measure(service(site.url, timeout_s=3, in_flight=5), routes("/a"), progress=released_at(0.9, released))
    assert counts(window)["/a", "anonymous", "hit"]["dropped"] >= 80
    assert sum(counts(window)["/a", "anonymous", "hit"].values()) == 100
    assert len(site.asked("GET")) == WARM_UP + 100 - counts(window)["/a", "anonymous", "hit"]["dropped"]


def released_at(share: float, released: Event) -> Any:
    """A progress that releases the server late in the window."""
    return lambda told: released.set() if told >= share else None


def test_a_connection_that_breaks_is_labelled(site: Site) -> None:
    """A server that hangs up is a sample, too."""
    seen = Counter[str]()

    def hang_up(_: Request) -> Answer:
        seen["all"] += 1
        if seen["all"] > WARM_UP + 50:
            raise ConnectionAbortedError
        return HIT

    site.pages["/a"] = hang_up
    found = counts(measure(service(site.url), routes("/a")))["/a", "anonymous", "hit"]
    assert found[""] + found["connection"] == 100 and 40 <= found["connection"] <= 50


def test_cache_classes_are_kept_apart(site: Site) -> None:
    """Hits and misses of one route are two series."""
    seen = Counter[str]()

    def every_fourth_misses(_: Request) -> Answer:
        seen["all"] += 1
        return Answer(headers={"X-Cache": "MISS"}) if seen["all"] % 4 == 0 else HIT

    site.pages["/a"] = every_fourth_misses
    assert counts(measure(service(site.url), routes("/a"))) == {
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
    assert cookies == dict.fromkeys(("session=alice", "session=bob", ""), 100 + WARM_UP)


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


def resting(after: int, status: int, headers: dict[str, str], times: int) -> Callable[[Request], Answer]:
    """A page that asks for a rest behind `after` answers, and again so many answers later, `times` in all."""
    asked = 0

    def page(_: Request) -> Answer:
        nonlocal asked
        asked += 1
        wants_rest = asked % after == 0 and asked // after <= times
        return Answer("slower!", status, headers) if wants_rest else PASS

    return page


@pytest.mark.parametrize(("status", "headers", "least_s"), [(429, {"Retry-After": "2"}, 2.0), (503, {}, 1.0)])
def test_a_service_that_asks_for_a_rest(site: Site, status: int, headers: dict[str, str], least_s: float) -> None:
    """It is left alone for as long as it says, or a second; the schedule moves on, and the answer counts as an error."""
    site.pages["/a"] = resting(50, status, headers, times=1)
    began = time.monotonic()
    window = measure(service(site.url), routes("/a"))
    took = time.monotonic() - began
    [measurement] = window.measurements
    assert counts(window) == {("/a", "anonymous", "pass"): {"": 99, f"status {status}": 1}}
    assert took > least_s + 0.5
    assert max(sample.latency_ms for sample in measurement.samples) < 1_000  # nobody waited through the rest


def test_a_service_that_asks_for_rest_again_and_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """After five rests the measurement ends, and says so."""
    monkeypatch.setattr("slipway.adapters.resting.FIRST_S", 0.01)
    site.pages["/a"] = resting(WARM_UP + 1, 429, {}, times=100)
    slow = service(site.url, requests=30)
    with pytest.raises(Unavailable, match="The service has asked for a rest 6 times in one measurement"):
        measure(slow, routes("/a"))


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
