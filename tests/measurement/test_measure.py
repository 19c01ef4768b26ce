"""Test which windows of a change and of a service are kept."""

from __future__ import annotations

import time

import pytest

from slipway.config.change import Change
from slipway.config.plan import Plan
from slipway.config.service import Probe, Service
from slipway.core.frozen import RouteAs
from slipway.measurement import measure as steps
from tests.sites import Answer, Request, Site

SLOW_S = 0.3
QUICK = {"bursts": 8, "requests": 5, "seconds": 0.4, "rate": 800, "timeout_s": 60, "in_flight": 1_000}


class ColdAtFirst:
    """A page that is slow until the middle of the first window, like a service whose caches are filling."""

    def __init__(self) -> None:
        self.windows = 0
        self.warm = False

    def __call__(self, _: Request) -> Answer:
        if not self.warm:
            time.sleep(SLOW_S)
        return Answer()

    def progress(self, share: float) -> None:
        """Count the windows, and become fast in the middle of the first one."""
        self.windows += share == 0
        self.warm = self.warm or share >= 0.5


@pytest.fixture
def page(site: Site) -> ColdAtFirst:
    """Return the page /a of the site."""
    site.pages |= {"/a": (cold_page := ColdAtFirst()), "/b": Answer()}
    return cold_page


def service(site: Site) -> Service:
    """Return a service that is measured in short windows."""
    probe = Probe(watch=(RouteAs(route="/a"), RouteAs(route="/b"))).model_copy(update=QUICK)
    return Service(name="shop", url=site.url, routes=("/*",)).model_copy(update={"probe": probe})


def plan(site: Site) -> Plan:
    """Return a plan of a change that measures /a against /b."""
    sentences = dict.fromkeys(("owner", "reason", "expected", "rollback"), "a test")
    pages = {"targets": [{"route": "/a"}], "control": {"route": "/b"}}
    change = Change.model_validate({"service": "shop", **sentences, "purge": {"routes": ["/a"]}, "measure": pages})
    return Plan(name="a-change", digest="", change=change, service=service(site), commit="", files=(), migration_sql="")


def latencies(window: steps.MeasuredWindow) -> list[float]:
    """Return the latencies of /a in ms."""
    return [
        sample.latency_ms
        for measurement in window.measurements
        if measurement.route == "/a"
        for sample in measurement.samples
    ]


def test_cold_first_window_is_discarded(site: Site, page: ColdAtFirst) -> None:
    """A cold first window is measured again, and the new window contains the reason."""
    window = steps.measure_change(plan(site), page.progress, first=True)
    assert page.windows == 2
    assert window.discarded[0].startswith("/a as anonymous (pass) got faster within the window, ")
    assert len(latencies(window)) == 40


def test_later_window_is_never_discarded(site: Site, page: ColdAtFirst) -> None:
    """A window after a change is evidence and is kept."""
    window = steps.measure_change(plan(site), page.progress)
    assert (page.windows, window.discarded) == (1, ())
    assert max(latencies(window)) >= 1_000 * SLOW_S


def test_cold_window_of_a_service_is_measured_again(site: Site, page: ColdAtFirst) -> None:
    """A cold window of a service is measured again, because it would become part of the history."""
    window = steps.measure_service(service(site), page.progress)
    assert (page.windows, bool(window.discarded)) == (2, True)


def test_second_cold_window_is_kept(site: Site) -> None:
    """A cold window is measured again only once."""
    pages = ColdAtFirst()

    def progress(share: float) -> None:
        pages.progress(share)
        pages.warm = share >= 0.5

    site.pages |= {"/a": pages, "/b": Answer()}
    window = steps.measure_change(plan(site), progress, first=True)
    assert (pages.windows, bool(window.discarded)) == (2, True)
