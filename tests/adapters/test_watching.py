"""Watching a service while something else is at work: real requests, and nothing that goes wrong goes up."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from slipway.adapters.watching import watching
from slipway.noun import RouteAs
from slipway.service import Identity, Service
from tests.sites import Answer, Request, Site

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


def service(url: str) -> Service:
    return Service(name="shop", url=url, routes=("/*",), identities=(ALICE,))


def test_what_was_seen(site: Site) -> None:
    """The routes in turn, each as its identity, from the start of the block to its end."""
    with watching(service(site.url), (ME, HOME), "the migration") as seen:
        time.sleep(0.9)
        assert seen().glimpses == ()  # told once it is over
    found = seen()
    assert (found.step, found.because) == ("the migration", "")
    assert 0.9 <= found.seconds < 5
    assert [glimpse.route for glimpse in found.glimpses[:4]] == ["/me", "/", "/me", "/"]
    assert all(0 <= glimpse.at_s <= found.seconds and glimpse.latency_ms > 0 for glimpse in found.glimpses)
    assert {glimpse.error for glimpse in found.glimpses} == {""}


def test_errors_are_glimpses(site: Site) -> None:
    """A page that fails while the step is at work is what a visitor would meet."""
    with watching(service(site.url), (HOME,), "the migration") as seen:
        time.sleep(0.3)
        site.pages["/"] = Answer("broken", 500)
        time.sleep(0.7)
    errors = [glimpse.error for glimpse in seen().glimpses]
    assert errors[0] == "" and errors[-1] == "status 500"


def test_a_service_that_is_asked_too_much_is_left_alone(site: Site) -> None:
    """As the probe does, it rests as long as it is told."""
    site.pages["/"] = Answer("", 429, {"Retry-After": "30"})
    with watching(service(site.url), (HOME,), "the migration") as seen:
        time.sleep(1.2)
        before = len(site.requests)
        assert before <= 2
        over = time.perf_counter()
    assert len(site.requests) == before and time.perf_counter() - over < 10
    assert {glimpse.error for glimpse in seen().glimpses} == {"status 429"}


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
    asked = len(site.requests)
    time.sleep(0.5)
    assert len(site.requests) == asked


def test_a_page_that_hangs_does_not_keep_the_step(site: Site) -> None:
    """What is under way when the step ends is a time-out at the latest when the probe's own time is over."""

    def hang(request: Request) -> Answer:
        time.sleep(1.5)
        return Answer("late")

    site.pages["/"] = hang
    slow = service(site.url)
    slow = slow.model_copy(update={"probe": slow.probe.model_copy(update={"timeout_s": 0.5})})
    with watching(slow, (HOME,), "the migration") as seen:
        time.sleep(0.2)
    assert {glimpse.error for glimpse in seen().glimpses} == {"timeout"}
