"""Watching a service while something else is at work: real requests, and nothing that goes wrong goes up."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from itertools import count
from types import SimpleNamespace

import pytest

from slipway.config.service import Identity, Probe, Service
from slipway.core.frozen import RouteAs
from slipway.measurement.backoff import Backoff
from slipway.measurement.monitor import watching
from tests.sites import Answer, Request, Site
from tests.stack.runs import wait_for

ALICE = Identity.model_validate(
    {
        "name": "alice",
        "sign_in": {"path": "/sign-in", "form": {"name": "alice"}},
        "marker": "Hello Alice",
        "marker_route": "/me",
    }
)
ME, HOME = RouteAs(route="/me", identity="alice"), RouteAs(route="/")


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as found:
        found.pages["POST /sign-in"] = Answer("", 303, {"Set-Cookie": "session=1; Path=/"})
        found.pages["/me"] = lambda request: Answer("Hello Alice" if "session=1" in request.cookie else "Sign in")
        found.pages["/"] = Answer("home")
        yield found


@pytest.fixture(autouse=True)
def _wait_for_the_first_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the watch enough time to begin on a slow machine."""
    monkeypatch.setattr("slipway.measurement.monitor.BEGINS_WITHIN_S", 120.0)


def service(url: str, timeout_s: float = 60) -> Service:
    return Service(name="shop", url=url, routes=("/*",), identities=(ALICE,), probe=Probe(timeout_s=timeout_s))


def watches() -> list[threading.Thread]:
    """The threads that watch a service."""
    return [thread for thread in threading.enumerate() if thread.name == "watch"]


def test_what_was_seen(site: Site) -> None:
    """The routes in turn, each as its identity, from the start of the block to its end."""
    before = time.perf_counter()
    with watching(service(site.url), (ME, HOME), "the migration") as seen:
        inside = time.perf_counter()
        wait_for(lambda: site.asked("GET").count("/") >= 2, "two requests for each route")
        assert seen().glimpses == ()  # the glimpses are known only after the block
        inside = time.perf_counter() - inside
    outside = time.perf_counter() - before
    found = seen()
    assert (found.step, found.because) == ("the migration", "")
    assert round(inside, 3) <= found.seconds <= round(outside, 3)
    assert [glimpse.route for glimpse in found.glimpses[:4]] == ["/me", "/", "/me", "/"]
    assert all(0 <= glimpse.at_s <= round(outside, 3) and glimpse.latency_ms > 0 for glimpse in found.glimpses)
    assert {glimpse.error for glimpse in found.glimpses} == {""}


def test_errors_are_glimpses(site: Site) -> None:
    """A page that fails during the step is an error, as it is for a visitor."""
    answered = count()
    site.pages["/"] = lambda _: Answer("broken", 500) if next(answered) else Answer("home")
    with watching(service(site.url), (HOME,), "the migration") as seen:
        wait_for(lambda: len(site.requests) >= 3, "three requests")
    errors = [glimpse.error for glimpse in seen().glimpses]
    assert sorted(errors) == ["", *["status 500"] * (len(errors) - 1)] and len(errors) >= 3


def test_a_service_that_is_asked_too_much_is_left_alone(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a 429 nothing is sent for as long as Retry-After says, and the step does not wait for that."""
    sent, resting, rested, ahead_s = list[int](), threading.Event(), threading.Event(), 0
    taken = Backoff.taken

    async def noted(rests: Backoff) -> float:
        sent.append(1)  # the watch looks for a rest once after each request
        if rests._asked_s:
            resting.set()
        seconds = await taken(rests)
        if seconds:
            rested.set()
        return seconds

    monkeypatch.setattr(Backoff, "taken", noted)
    clock = SimpleNamespace(perf_counter=lambda: time.perf_counter() + ahead_s)
    monkeypatch.setattr("slipway.measurement.backoff.time", clock)
    site.pages["/"] = Answer("", 429, {"Retry-After": "30"})
    with watching(service(site.url, timeout_s=1), (HOME,), "the migration") as seen:
        assert resting.wait(120)
        before = len(sent)
        time.sleep(0.5)  # more than the time between two requests
        assert len(sent) == before
    assert not rested.is_set()
    assert len(site.requests) <= before
    assert "status 429" in {glimpse.error for glimpse in seen().glimpses}
    ahead_s = 3_600
    wait_for(lambda: not watches(), "the end of the rest and of the watch")


@pytest.mark.parametrize("what", ["away", "sign-in"])
def test_who_cannot_watch_says_why(site: Site, what: str) -> None:
    """The block is not disturbed."""
    url = site.url
    if what == "away":
        url = "http://127.0.0.1:9"
    else:
        site.pages["/me"] = Answer("Sign in")
    done = False
    with watching(service(url), (ME,), "the migration") as seen:
        done = True
    assert done and seen().glimpses == ()
    assert ("does not answer" if what == "away" else "does not show 'Hello Alice'") in seen().because


def test_an_error_of_the_block_goes_up(site: Site) -> None:
    """And the watch ends with it."""
    with pytest.raises(RuntimeError, match="the step"), watching(service(site.url), (HOME,), "the migration"):
        raise RuntimeError("the step")
    assert not watches()


def test_a_page_that_hangs_does_not_keep_the_step(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that is under way when the step ends times out after the probe's own time-out."""
    monkeypatch.setattr("slipway.measurement.monitor.LOOK_EVERY_S", 120.0)  # also how late the thread may end
    late = threading.Event()

    def hang(request: Request) -> Answer:
        late.wait(120)
        return Answer("late")

    site.pages["/"] = hang
    with watching(service(site.url, timeout_s=0.5), (HOME,), "the migration") as seen:
        pass
    assert not late.is_set()
    late.set()
    assert {glimpse.error for glimpse in seen().glimpses} == {"timeout"}
