"""Test monitoring during a step: real requests, and no error of the monitor reaches the step."""

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
from slipway.measurement.monitor import monitoring
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
    with Site() as site:
        site.pages["POST /sign-in"] = Answer("", 303, {"Set-Cookie": "session=1; Path=/"})
        site.pages["/me"] = lambda request: Answer("Hello Alice" if "session=1" in request.cookie else "Sign in")
        site.pages["/"] = Answer("home")
        yield site


@pytest.fixture(autouse=True)
def _wait_for_the_first_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the monitor enough time to start on a slow machine."""
    monkeypatch.setattr("slipway.measurement.monitor.START_TIMEOUT_S", 120.0)


def service(url: str, timeout_s: float = 60) -> Service:
    return Service(name="shop", url=url, routes=("/*",), identities=(ALICE,), probe=Probe(timeout_s=timeout_s))


def monitor_threads() -> list[threading.Thread]:
    """Return the threads that monitor a service."""
    return [thread for thread in threading.enumerate() if thread.name == "watch"]


def test_monitor_requests_the_routes_in_turn(site: Site) -> None:
    """The monitor requests the routes in turn, each as its identity, from the start of the block to its end."""
    before = time.perf_counter()
    with monitoring(service(site.url), (ME, HOME), "the migration") as result_of:
        inside = time.perf_counter()
        wait_for(lambda: site.requested("GET").count("/") >= 2, "two requests for each route")
        assert result_of().glimpses == ()  # the samples are available only after the block
        inside = time.perf_counter() - inside
    outside = time.perf_counter() - before
    result = result_of()
    assert (result.step, result.because) == ("the migration", "")
    assert round(inside, 3) <= result.seconds <= round(outside, 3)
    assert [sample.route for sample in result.glimpses[:4]] == ["/me", "/", "/me", "/"]
    assert all(0 <= sample.at_s <= round(outside, 3) and sample.latency_ms > 0 for sample in result.glimpses)
    assert {sample.error for sample in result.glimpses} == {""}


def test_errors_are_samples(site: Site) -> None:
    """An error page during the step is a sample with an error."""
    responses = count()
    site.pages["/"] = lambda _: Answer("broken", 500) if next(responses) else Answer("home")
    with monitoring(service(site.url), (HOME,), "the migration") as result_of:
        wait_for(lambda: len(site.requests) >= 3, "three requests")
    errors = [sample.error for sample in result_of().glimpses]
    assert sorted(errors) == ["", *["status 500"] * (len(errors) - 1)] and len(errors) >= 3


def test_monitor_pauses_after_a_429(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a 429 the monitor sends no requests for the time in Retry-After, and the step does not wait for the pause."""
    sent, pausing, paused, ahead_s = list[int](), threading.Event(), threading.Event(), 0
    pause = Backoff.pause

    async def noted_pause(backoff: Backoff) -> float:
        sent.append(1)  # the monitor calls `pause` once after each request
        if backoff._pause_s:
            pausing.set()
        seconds = await pause(backoff)
        if seconds:
            paused.set()
        return seconds

    monkeypatch.setattr(Backoff, "pause", noted_pause)
    clock = SimpleNamespace(perf_counter=lambda: time.perf_counter() + ahead_s)
    monkeypatch.setattr("slipway.measurement.backoff.time", clock)
    site.pages["/"] = Answer("", 429, {"Retry-After": "30"})
    with monitoring(service(site.url, timeout_s=1), (HOME,), "the migration") as result_of:
        assert pausing.wait(120)
        before = len(sent)
        time.sleep(0.5)  # more than the time between two requests
        assert len(sent) == before
    assert not paused.is_set()
    assert len(site.requests) <= before
    assert "status 429" in {sample.error for sample in result_of().glimpses}
    ahead_s = 3_600
    wait_for(lambda: not monitor_threads(), "the end of the pause and of the monitor")


@pytest.mark.parametrize("cause", ["away", "sign-in"])
def test_failed_monitor_reports_the_reason(site: Site, cause: str) -> None:
    """If monitoring fails, the result contains the reason, and the block runs undisturbed."""
    url = site.url
    if cause == "away":
        url = "http://127.0.0.1:9"
    else:
        site.pages["/me"] = Answer("Sign in")
    done = False
    with monitoring(service(url), (ME,), "the migration") as result_of:
        done = True
    assert done and result_of().glimpses == ()
    assert ("does not answer" if cause == "away" else "does not show 'Hello Alice'") in result_of().because


def test_error_of_the_block_is_raised(site: Site) -> None:
    """An error of the block is raised, and the monitor stops."""
    with pytest.raises(RuntimeError, match="the step"), monitoring(service(site.url), (HOME,), "the migration"):
        raise RuntimeError("the step")
    assert not monitor_threads()


def test_hanging_page_does_not_delay_the_step(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that is pending when the step ends times out after the probe's own timeout."""
    monkeypatch.setattr("slipway.measurement.monitor.POLL_EVERY_S", 120.0)  # also the limit for the end of the thread
    late = threading.Event()

    def hang(request: Request) -> Answer:
        late.wait(120)
        return Answer("late")

    site.pages["/"] = hang
    with monitoring(service(site.url, timeout_s=0.5), (HOME,), "the migration") as result_of:
        pass
    assert not late.is_set()
    late.set()
    assert {sample.error for sample in result_of().glimpses} == {"timeout"}
