"""The stack is ready when its services answer at their usual speed."""

from __future__ import annotations

import threading
import time
from itertools import count
from threading import Event

from slipway.deployments.readiness import REQUESTS, wait_until_settled
from tests.sites import Answer, Request, Site


def test_a_service_that_gets_faster(site: Site) -> None:
    """The wait ends after its latency has stopped falling."""
    numbers, cold = count(), 4 * REQUESTS

    def page(_: Request) -> Answer:
        time.sleep(0.2 * max(0.0, 1 - next(numbers) / cold))
        return Answer()

    site.pages["/a"] = page
    assert wait_until_settled({"shop": f"{site.url}/a"}, stopping=Event()) == []
    assert len(site.requests) > cold


def test_a_service_that_never_settles(site: Site) -> None:
    """The wait ends at its limit, and the service is named."""
    numbers = count()

    def page(_: Request) -> Answer:
        time.sleep(0.2 * 0.98 ** next(numbers))
        return Answer()

    site.pages |= {"/a": page, "/b": Answer()}
    urls = {"shop": f"{site.url}/a", "admin": f"{site.url}/b"}
    assert "shop" in wait_until_settled(urls, stopping=Event(), within_s=2)


def test_a_stop_ends_the_wait(site: Site) -> None:
    """A stack that is stopped while it starts does not wait any longer."""
    stopping = Event()

    def page(_: Request) -> Answer:
        stopping.set()
        return Answer()

    site.pages["/a"] = page
    ended = threading.Thread(
        target=wait_until_settled, args=({"shop": f"{site.url}/a"},), kwargs={"stopping": stopping}
    )
    ended.start()
    ended.join(120)
    assert not ended.is_alive() and len(site.requests) == REQUESTS


def test_a_service_that_is_away() -> None:
    """An error is no answer at the usual speed, but does not end the wait with an exception."""
    with Site() as gone:
        url = gone.url
    assert wait_until_settled({"shop": url}, stopping=Event(), within_s=30) == []
