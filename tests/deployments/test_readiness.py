"""The stack is ready when its services answer at their usual speed."""

from __future__ import annotations

import threading
import time
from itertools import count
from threading import Event

from slipway.deployments.readiness import REQUESTS, wait_until_settled
from tests.sites import Answer, Request, Site


def test_the_wait_ends_when_the_latency_stops_falling(site: Site) -> None:
    """The wait ends after the latency stops falling."""
    numbers, cold = count(), 4 * REQUESTS

    def page(_: Request) -> Answer:
        time.sleep(0.2 * max(0.0, 1 - next(numbers) / cold))
        return Answer()

    site.pages["/a"] = page
    assert wait_until_settled({"shop": f"{site.url}/a"}, stopping=Event()) == []
    assert len(site.requests) > cold


def test_a_service_that_never_settles_is_named(site: Site) -> None:
    """The wait ends at its time limit, and returns the name of the service."""
    numbers = count()

    def page(_: Request) -> Answer:
        time.sleep(0.2 * 0.98 ** next(numbers))
        return Answer()

    site.pages |= {"/a": page, "/b": Answer()}
    urls = {"shop": f"{site.url}/a", "admin": f"{site.url}/b"}
    assert "shop" in wait_until_settled(urls, stopping=Event(), within_s=2)


def test_a_stop_ends_the_wait(site: Site) -> None:
    """A stack that is stopped during its start does not wait any longer."""
    stopping = Event()

    def page(_: Request) -> Answer:
        stopping.set()
        return Answer()

    site.pages["/a"] = page
    waiting = threading.Thread(
        target=wait_until_settled, args=({"shop": f"{site.url}/a"},), kwargs={"stopping": stopping}
    )
    waiting.start()
    waiting.join(120)
    assert not waiting.is_alive() and len(site.requests) == REQUESTS


def test_an_unreachable_service_is_no_exception() -> None:
    """Errors do not raise an exception. Their latency settles like that of responses."""
    with Site() as stopped:
        url = stopped.url
    assert wait_until_settled({"shop": url}, stopping=Event(), within_s=30) == []
