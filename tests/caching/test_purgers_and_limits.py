"""Tests of batches, rate limits and invalid answers of the providers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from math import inf
from types import SimpleNamespace

import pytest

from slipway.caching.outcomes import RouteReading
from slipway.caching.purge import purge_routes
from slipway.caching.purgers import KINDS, fastly
from slipway.config.cache_kinds import CDNS
from slipway.config.service import Service
from slipway.core import cancellation
from slipway.core.cancellation import interruptible
from slipway.core.errors import SlipwayError, Unavailable
from tests.caches import TOKEN
from tests.fronts import VARIABLE, Front
from tests.providers import Edge
from tests.sites import Answer


@pytest.fixture(params=CDNS)
def cdn(make_front: Callable[[str], Front], request: pytest.FixtureRequest) -> Front:
    """Return each fake CDN in turn."""
    return make_front(request.param)


def edge_of(front: Front) -> Edge:
    """Return the fake CDN of a front."""
    assert front.edge is not None
    return front.edge


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record the seconds of each wait, without waiting."""
    seconds: list[float] = []
    monkeypatch.setattr(cancellation, "wait", seconds.append)
    return seconds


def targets(body: str) -> list[str]:
    """Return the targets in the body of a request."""
    values: list[str] = re.findall("<Path>(.*?)</Path>", body) or next(iter(json.loads(body).values()))
    return values


def too_many(**headers: str) -> Answer:
    """Return a 429."""
    return Answer("slow down", 429, {name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize(
    ("name", "kind", "sizes"),
    [
        ("fastly", "tags", [256, 44]),
        ("cloudflare", "routes", [100, 100, 100]),
        ("cloudflare", "tags", [100, 100, 100]),
        ("cloudflare", "prefixes", [100, 100, 100]),
        ("cloudfront", "routes", [300]),
        ("cloudfront", "prefixes", [15] * 20),
        ("akamai", "routes", [50] * 6),
        ("akamai", "tags", [300]),
    ],
)
def test_targets_are_sent_in_batches(
    make_front: Callable[[str], Front], name: str, kind: str, sizes: list[int]
) -> None:
    """Three hundred targets are sent in as few requests as the provider allows, each target once."""
    cdn = make_front(name)
    first, last = (cdn.route(name, name) for name in ("t0", "t299"))
    cdn.warm(first, last)
    values = [f"t{number}" if kind == "tags" else f"{cdn.path}/t{number}" for number in range(300)]
    with cdn.purger() as purger:
        purger.purge(**{kind: values})
    sent = [targets(request.body) for request in edge_of(cdn).requests if request.method == "POST"]
    assert [len(batch) for batch in sent] == sizes
    assert len({value for batch in sent for value in batch}) == 300
    cdn.assert_renewed(first, last)


@pytest.mark.parametrize("name", ["bunny", "fastly"])
def test_one_route_per_request(make_front: Callable[[str], Front], name: str) -> None:
    """If a provider accepts one URL per request, each route is a request."""
    cdn = make_front(name)
    routes = [cdn.route(str(number)) for number in range(3)]
    cdn.warm(*routes)
    with cdn.purger() as purger:
        purger.purge(routes=routes)
    assert len(edge_of(cdn).requests) == 3
    cdn.assert_renewed(*routes)


def test_a_purge_waits_for_a_rate_limit(cdn: Front, waits: list[float]) -> None:
    """After a 429 the same request is sent again at the time that the provider names, in seconds or as a date."""
    route = cdn.route("page")
    cdn.warm(route)
    past = format_datetime(datetime.now(UTC) - timedelta(seconds=5), usegmt=True)
    edge_of(cdn).refusals = [too_many(Retry_After="7"), too_many(Retry_After=past)]
    with cdn.purger() as purger:
        purger.purge(routes=[route])
    assert waits[:2] == [7, 0]  # CloudFront then also waits until the invalidation is completed
    sent = [(request.target, request.body) for request in edge_of(cdn).requests if request.method == "POST"]
    assert sent == [sent[0]] * 3
    cdn.assert_renewed(route)


def test_the_rate_limit_header_of_fastly(
    make_front: Callable[[str], Front], monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> None:
    """Fastly names the reset of its limit in seconds since 1970."""
    monkeypatch.setattr(fastly, "time", SimpleNamespace(time=lambda: 1_000_000.25))
    cdn = make_front("fastly")
    edge_of(cdn).refusals = [too_many(Fastly_RateLimit_Reset="1000002")]
    with cdn.purger() as purger:
        purger.check()
    assert waits == [1.75]


def test_a_purge_fails_after_three_waits(cdn: Front, waits: list[float]) -> None:
    """After three waits no further request is sent, and the error names the rate limit."""
    edge_of(cdn).refusals = [*[too_many(Retry_After="20")] * 3, *[too_many(Retry_After="30")] * 7]
    with cdn.purger() as purger, pytest.raises(Unavailable) as limited:
        purger.purge(routes=["/a"])
    assert waits == [20] * 3
    assert str(limited.value) == (
        "The cache's rate limit refused the purge of /a: it answered 429 and asks to wait 30 s. Expected: At most 3 waits "
        "of at most 60 s. Purge fewer pages at once, or retry later. A retry is safe."
    )
    assert len(edge_of(cdn).requests) == 4


def test_a_long_wait_fails_at_once(cdn: Front, waits: list[float]) -> None:
    """A wait of an hour is an error without waiting."""
    edge_of(cdn).refusals = [too_many(Retry_After="3600")]
    with cdn.purger() as purger, pytest.raises(Unavailable, match="asks to wait 3600 s"):
        purger.purge(routes=["/a"])
    assert waits == []
    assert len(edge_of(cdn).requests) == 1


def test_a_limit_without_a_time_waits_the_default(cdn: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    """If Retry-After is missing or invalid, the purger waits its default time."""
    monkeypatch.setattr(KINDS[cdn.kind], "wait_s", 0.01)
    edge_of(cdn).refusals = [too_many(), too_many(Retry_After="soon")]
    with cdn.purger() as purger:
        purger.check()
    assert len(edge_of(cdn).requests) == 3


def test_cancellation_ends_the_wait(cdn: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cancellation ends the wait for the limit within half a second."""
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    def cancel() -> None:
        if now > 10:
            raise KeyboardInterrupt

    monkeypatch.setattr(cancellation, "time", SimpleNamespace(monotonic=lambda: now, sleep=sleep))
    edge_of(cdn).refusals = [too_many(Retry_After="60")]
    with cdn.purger() as purger, interruptible(by=cancel), pytest.raises(KeyboardInterrupt):
        purger.purge(routes=["/a"])
    assert 10 < now <= 10.5
    assert len(edge_of(cdn).requests) == 1


@pytest.mark.parametrize("name", ["fastly", "cloudflare", "cloudfront", "akamai"])
@pytest.mark.parametrize("garbage", ["", "<html>hello</html>", "[]", "{}", '{"success": "true"}', '{"status": "?"}'])
def test_an_undocumented_answer_is_an_error(make_front: Callable[[str], Front], name: str, garbage: str) -> None:
    """A 200 with another body does not confirm the purge, and the error does not quote the body."""
    cdn = make_front(name)
    for targets in ({"routes": ["/a"]}, {"tags": ["a"]}):
        edge_of(cdn).refusals = [Answer(garbage, 201 if name in ("cloudfront", "akamai") else 200)]
        with cdn.purger() as purger, pytest.raises(SlipwayError) as failed:
            purger.purge(**targets)  # type: ignore[arg-type]
        target = "/a" if "routes" in targets else "tag a"
        assert failed.value.failed == f"The cache's answer to a purge of {target} does not confirm the purge."


@pytest.mark.parametrize("name", [name for name in CDNS if name != "akamai"])
def test_an_unknown_zone_is_refused(
    make_front: Callable[[str], Front], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provider refuses a zone to which the token has no access, and the error has the status."""
    cdn = make_front(name)
    service = cdn.service()
    assert service.cache is not None
    other = service.model_copy(update={"cache": service.cache.model_copy(update={"zone": "other"})})
    monkeypatch.setattr(cdn, "service", lambda: other)
    with cdn.purger() as purger, pytest.raises(SlipwayError) as refused:
        purger.purge(tags=["a"])
    assert refused.value.failed == "The cache refused to purge tag a: it answered 404."


def test_the_step_waits_for_a_slow_cdn(cdn: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the provider has accepted a purge, the step reads the page until it is purged."""
    monkeypatch.setattr("slipway.caching.purge.POLL_S", 0.1)
    monkeypatch.setattr(KINDS[cdn.kind], "apart_s", 0.0)
    monkeypatch.setattr(KINDS[cdn.kind], "settles_s", 600.0)
    route, control = cdn.route("page", Age="100"), cdn.route("control")
    cdn.warm(route, control)
    edge_of(cdn).purge_delay_s = inf
    waited: list[int] = []

    def settle_after_two_waits() -> None:
        waited.append(1)
        if len(waited) == 2:
            edge_of(cdn).apply_purges()

    with interruptible(by=settle_after_two_waits):
        purged = purge_routes(entry(cdn), [route], [], extra_controls=[control])
    assert purged.affected == (RouteReading(route=route, first="miss", second="hit", age_s=100),)
    assert [(read.route, read.first) for read in purged.controls] == [(control, "hit")]
    assert len(waited) >= 2


def test_the_step_detects_a_cdn_that_does_not_purge(cdn: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a CDN accepts a purge and does nothing, the step fails after the purge's maximum time."""
    monkeypatch.setattr("slipway.caching.purge.POLL_S", 0.1)
    monkeypatch.setattr(KINDS[cdn.kind], "apart_s", 0.0)
    monkeypatch.setattr(KINDS[cdn.kind], "settles_s", 0.2)
    route = cdn.route("page", Age="100")
    cdn.warm(route)
    edge_of(cdn).ignores_purges = True
    with pytest.raises(SlipwayError) as failed:
        purge_routes(entry(cdn), [route], [])
    message = rf"{re.escape(route)} still comes from the cache after its purge \(age 1\d\d s\)\."
    assert re.fullmatch(message, failed.value.failed)


def test_the_step_waits_two_seconds_between_purges_on_fastly(
    make_front: Callable[[str], Front], waits: list[float]
) -> None:
    """Two purges of one key are two seconds apart, even if the origin's time-out is 0."""
    cdn = make_front("fastly")
    purge_routes(entry(cdn), [], ["menu"], extra_controls=[cdn.route("control")])
    assert waits == [2]
    assert [request.method for request in edge_of(cdn).requests] == ["POST"] * 2


def test_the_step_with_refreshed_pages(make_front: Callable[[str], Front]) -> None:
    """A refreshed page is a hit at once, with the origin's answer to the second purge."""
    front = make_front("nginx-refresh")
    route, control = front.route("page"), front.route("control")
    front.warm(route, control)
    purged = purge_routes(entry(front), [route], [], extra_controls=[control])
    assert [(read.first, read.second) for read in (*purged.affected, *purged.controls)] == [("hit", "hit")] * 2
    assert front.read(route) == ("hit", "fetch 3")


def test_a_refresh_that_may_not_be_stored_fails(make_front: Callable[[str], Front]) -> None:
    """If the origin's new answer may not be stored, nginx keeps the old page, and the purge fails."""
    front = make_front("nginx-refresh")
    route = front.route("page")
    front.warm(route)
    front.origin.pages[route] = Answer("gone", 404)
    with front.purger() as purger, pytest.raises(SlipwayError) as failed:
        purger.purge(routes=[route])
    assert failed.value.failed == (
        f"The cache fetched {route} again, but still serves a page that differs from the origin's answer (404)."
    )


def test_the_token_of_a_refresh_stays_in_the_cache(make_front: Callable[[str], Front]) -> None:
    """The cache does not send the token to the origin, and plain reads have no token."""
    front = make_front("nginx-refresh")
    route = front.route("page")
    with front.purger() as purger:
        purger.purge(routes=[route])
    fetched = [request for request in front.origin.requests if request.target == route]
    assert len(fetched) == 1
    assert TOKEN not in str(fetched[0].headers)
    assert VARIABLE not in str(fetched[0].headers)


def entry(front: Front) -> Service:
    """Return the service's entry with an origin time-out of 0."""
    service = front.service()
    assert service.cache is not None
    return service.model_copy(update={"cache": service.cache.model_copy(update={"origin_timeout_s": 0})})
