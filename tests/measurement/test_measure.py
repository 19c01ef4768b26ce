"""Measuring a change and a service: which windows are kept."""

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
    """A page that is slow until the middle of the first window, as a service is whose caches fill."""

    def __init__(self) -> None:
        self.windows = 0
        self.warm = False

    def __call__(self, _: Request) -> Answer:
        if not self.warm:
            time.sleep(SLOW_S)
        return Answer()

    def progress(self, share: float) -> None:
        """The probe's progress."""
        self.windows += share == 0
        self.warm = self.warm or share >= 0.5


@pytest.fixture
def page(site: Site) -> ColdAtFirst:
    """The page /a of the site."""
    site.pages |= {"/a": (found := ColdAtFirst()), "/b": Answer()}
    return found


def service(site: Site) -> Service:
    """A service measured in short windows."""
    probe = Probe(watch=(RouteAs(route="/a"), RouteAs(route="/b"))).model_copy(update=QUICK)
    return Service(name="shop", url=site.url, routes=("/*",)).model_copy(update={"probe": probe})


def plan(site: Site) -> Plan:
    """A change that measures /a against /b."""
    sentences = dict.fromkeys(("owner", "reason", "expected", "rollback"), "a test")
    pages = {"targets": [{"route": "/a"}], "control": {"route": "/b"}}
    change = Change.model_validate({"service": "shop", **sentences, "purge": {"routes": ["/a"]}, "measure": pages})
    return Plan(name="a-change", digest="", change=change, service=service(site), commit="", files=(), migration_sql="")


def latencies(window: steps.MeasuredWindow) -> list[float]:
    """The latencies of /a, in ms."""
    return [sample.latency_ms for found in window.measurements if found.route == "/a" for sample in found.samples]


def test_a_cold_first_window_is_discarded(site: Site, page: ColdAtFirst) -> None:
    """It is measured again, and the new window says why."""
    window = steps.measure_change(plan(site), page.progress, first=True)
    assert page.windows == 2
    assert window.discarded[0].startswith("/a as anonymous (pass) got faster within it, ")
    assert len(latencies(window)) == 40


def test_a_later_window_is_never_discarded(site: Site, page: ColdAtFirst) -> None:
    """What was measured after a change is evidence."""
    window = steps.measure_change(plan(site), page.progress)
    assert (page.windows, window.discarded) == (1, ())
    assert max(latencies(window)) >= 1_000 * SLOW_S


def test_a_service_is_measured_again_too(site: Site, page: ColdAtFirst) -> None:
    """A cold window would become part of the service's history."""
    window = steps.measure_service(service(site), page.progress)
    assert (page.windows, bool(window.discarded)) == (2, True)


def test_a_second_cold_window_is_kept(site: Site) -> None:
    """There is one more try, not an endless one."""
    pages = ColdAtFirst()

    def progress(share: float) -> None:
        pages.progress(share)
        pages.warm = share >= 0.5

    site.pages |= {"/a": pages, "/b": Answer()}
    window = steps.measure_change(plan(site), progress, first=True)
    assert (pages.windows, bool(window.discarded)) == (2, True)
