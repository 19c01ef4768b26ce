"""Tests of purges on real caches in front of a real web server."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx
import pytest

from slipway.caching import purge as steps
from slipway.caching.outcomes import RouteReading
from slipway.caching.purge import check_purge, purge_change, purge_routes
from slipway.caching.purgers import purger_of
from slipway.caching.purgers.varnish import Varnish
from slipway.config.service import Cache, Service
from slipway.core import cancellation
from slipway.core.errors import InvalidInput, SlipwayError, Unavailable
from slipway.core.settings import EnvironmentReference
from tests.caches import TOKEN, run_cache
from tests.histories import plan_of
from tests.sites import Answer, Request, Site

VARIABLE = "TEST_PURGE_TOKEN"
Require = Callable[[str], None]


@pytest.fixture(scope="module")
def origin() -> Iterator[Site]:
    """Start the web server behind the caches. Each test uses its own pages."""
    with Site() as running:
        running.pages["/health"] = Answer("ok", headers={"Cache-Control": "no-store"})
        yield running


@pytest.fixture(scope="module")
def nginx(origin: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start the nginx from PyPI."""
    with run_cache("nginx", tmp_path_factory.mktemp("nginx"), origin) as url:
        yield url


@pytest.fixture(scope="module")
def varnish(origin: Site, tmp_path_factory: pytest.TempPathFactory, require: Require) -> Iterator[str]:
    """Start Varnish."""
    require("varnishd")
    with run_cache("varnish", tmp_path_factory.mktemp("varnish"), origin) as url:
        yield url


class Shop:
    """A service behind a cache, with pages below the test's own path."""

    def __init__(self, kind: str, url: str, origin: Site, path: str) -> None:
        self.kind, self.url, self.origin, self.path = kind, url, origin, path
        self.controls: list[str] = []

    def route(self, name: str, tags: str = "", page: Callable[[Request], Answer] | None = None) -> str:
        """Make a page that shows how often it was fetched, and return its route."""
        route = f"{self.path}/{name}"
        headers = {"Cache-Control": "public, max-age=600", "Surrogate-Key": tags or "none", "Age": "0"}
        counter = lambda _: Answer(f"fetch {self.origin.requested('GET').count(route)}", headers=headers)  # noqa: E731
        self.origin.pages[route] = page or counter
        return route

    def service(self, origin_timeout_s: float = 0) -> Service:
        """Return the service's entry."""
        cache = Cache(
            kind=self.kind,
            url=self.url,
            token=EnvironmentReference(env=VARIABLE),
            origin_timeout_s=origin_timeout_s,
            controls=tuple(self.controls),
        )
        return Service(name="shop", url=self.url, routes=(f"{self.path}/*", "/products/*"), cache=cache)

    def read(self, route: str) -> tuple[str, str]:
        """Return the cache's label of its response, and the body."""
        answer = httpx.get(self.url + route, trust_env=False, timeout=120)
        return answer.headers["X-Cache"], answer.text

    def warm(self, *routes: str) -> None:
        """Read routes until they are hits."""
        for route in routes:
            self.read(route)
            assert self.read(route)[0] == "HIT"


@pytest.fixture
def make(origin: Site, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Shop]:
    """Return a function that makes a shop behind a kind of cache."""
    monkeypatch.setenv(VARIABLE, TOKEN)
    path = f"/{request.node.originalname}"
    return lambda kind: Shop(kind, request.getfixturevalue(kind), origin, f"{path}-{kind}")


@pytest.fixture(params=["nginx", "varnish"])
def shop(make: Callable[[str], Shop], request: pytest.FixtureRequest) -> Shop:
    """Return the shop behind each cache in turn."""
    return make(request.param)


def test_only_the_named_routes_leave(shop: Shop) -> None:
    """The named routes are fetched again, all other routes stay hits, and the readings show both."""
    gone, also_gone, control, other = (shop.route(name) for name in ("gone", "gone?page=2", "control", "other"))
    shop.warm(gone, also_gone, control, other)
    shop.controls = [control]
    purged = purge_routes(shop.service(), [gone, also_gone], [])
    assert (purged.routes, purged.tags) == ((gone, also_gone), ())
    assert [(read.route, read.first, read.second) for read in purged.affected] == [
        (gone, "miss", "hit"),
        (also_gone, "miss", "hit"),
    ]
    assert [(read.route, read.first, read.second) for read in purged.controls] == [(control, "hit", "hit")]
    assert shop.read(other) == ("HIT", "fetch 1")
    assert shop.read(gone) == ("HIT", "fetch 2")


def test_purging_again_is_safe(shop: Shop) -> None:
    """A repeated purge removes the page again. A route that was never in the cache is no error."""
    route, never = shop.route("page"), shop.route("never")
    for _ in range(2):
        purged = purge_routes(shop.service(), [route, never], [])
        assert [read.first for read in purged.affected] == ["miss", "miss"]


def test_a_control_that_was_not_in_the_cache_is_warmed(shop: Shop) -> None:
    """A control is read before the purge, so that it is in the cache."""
    route, control = shop.route("page"), shop.route("control")
    shop.warm(route)
    purged = purge_routes(shop.service(), [route], [], extra_controls=[control, route, control])
    assert [(read.route, read.first) for read in purged.controls] == [(control, "hit")]


def test_a_control_that_is_never_stored_is_not_evicted(shop: Shop) -> None:
    """A page that the cache never stored is not a finding."""
    volatile = Answer("never stored", headers={"Cache-Control": "no-store"})
    route, control = shop.route("page"), shop.route("control", page=lambda _: volatile)
    purged = purge_routes(shop.service(), [route], [], extra_controls=[control])
    assert [(read.route, read.first, read.evicted) for read in purged.controls] == [(control, "pass", False)]
    assert purged.findings == ()


@pytest.mark.parametrize("read_again", [False, True])
def test_an_evicted_control_is_a_finding(
    make: Callable[[str], Shop], monkeypatch: pytest.MonkeyPatch, read_again: bool
) -> None:
    """A purge that removes a control is a finding, even if a visitor has read the control again since."""
    shop, fetches = make("varnish"), count()

    def old_at_first(_: Request) -> Answer:
        age = "0" if next(fetches) else "300"  # a page that is fetched again is younger, however slow the machine is
        return Answer(headers={"Cache-Control": "public, max-age=600", "Surrogate-Key": "front", "Age": age})

    route, control = shop.route("page", "front"), shop.route(f"control-{read_again}", page=old_at_first)
    shop.warm(route, control)
    purge = Varnish.purge

    def too_much(purger: Varnish, **named: Any) -> None:
        purge(purger, routes=[*named.get("routes", ()), control])
        if read_again:
            shop.warm(control)

    monkeypatch.setattr(Varnish, "purge", too_much)
    purged = purge_routes(shop.service(), [route], [], extra_controls=[control])
    first = "hit" if read_again else "miss"
    assert [(read.route, read.first, read.evicted) for read in purged.controls] == [(control, first, True)]
    [finding] = purged.findings
    assert (finding.code, finding.level) == ("collateral-eviction", "warning")
    assert finding.summary == f"{control} left the cache, too."


def test_every_variant_is_read(make: Callable[[str], Shop]) -> None:
    """If an entry declares variants, affected routes and controls are read in each of them."""
    shop = make("varnish")
    varying = {"Cache-Control": "public, max-age=600", "Vary": "Accept-Language"}
    pages = {
        name: shop.route(name, page=lambda r: Answer(r.headers.get("Accept-Language", "-"), headers=varying))
        for name in "ab"
    }
    german = {"Accept-Language": "de"}
    for route in pages.values():
        shop.warm(route)
        assert [read(shop, route, german) for _ in range(2)] == [("MISS", "de"), ("HIT", "de")]
    service = shop.service()
    assert service.cache is not None
    cache = service.cache.model_copy(update={"variants": (german,)})
    purged = purge_routes(service.model_copy(update={"cache": cache}), [pages["a"]], [], extra_controls=[pages["b"]])
    assert [(reading.page, reading.first) for reading in purged.affected] == [
        (pages["a"], "miss"),
        (f"{pages['a']} (Accept-Language: de)", "miss"),
    ]
    assert [(reading.page, reading.first, reading.evicted) for reading in purged.controls] == [
        (pages["b"], "hit", False),
        (f"{pages['b']} (Accept-Language: de)", "hit", False),
    ]


def test_a_variant_that_stays_fails(make: Callable[[str], Shop], monkeypatch: pytest.MonkeyPatch) -> None:
    """A purge fails if the cache keeps one variant of the page."""
    shop = make("varnish")
    route = shop.route("page")
    shop.warm(route)
    service = shop.service()
    assert service.cache is not None
    cache = service.cache.model_copy(update={"variants": ({"Accept-Language": "de"},)})
    read_one = steps._Pages.read_one

    def stays(pages: Any, route: str, variant: str) -> RouteReading:
        reading = read_one(pages, route, variant)
        return reading.model_copy(update={"first": "hit", "age_s": 99}) if variant else reading

    monkeypatch.setattr(steps._Pages, "read_one", stays)
    with pytest.raises(SlipwayError, match=r"page \(Accept-Language: de\) still comes from the cache"):
        purge_routes(service.model_copy(update={"cache": cache}), [route], [])


def read(shop: Shop, route: str, headers: dict[str, str]) -> tuple[str, str]:
    """Return the cache's label of its response to these headers, and the body."""
    answer = httpx.get(shop.url + route, headers=headers, trust_env=False, timeout=120)
    return answer.headers["X-Cache"], answer.text


def test_a_tag_removes_all_its_pages(make: Callable[[str], Shop]) -> None:
    """On Varnish every page with the tag is removed, even a control. Pages with other tags stay."""
    shop = make("varnish")
    one, two, other = shop.route("1", "menu front"), shop.route("2", "menu"), shop.route("3", "menus")
    shop.warm(one, two, other)
    shop.controls = [two, other]
    purged = purge_routes(shop.service(), [], ["menu"])
    assert [(read.route, read.first) for read in purged.affected] == [(two, "miss")]
    assert [(read.route, read.first) for read in purged.controls] == [(other, "hit")]
    assert shop.read(one) == ("MISS", "fetch 2")


def test_a_wrong_token_purges_nothing(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the cache's status, never the token, and all pages stay in the cache."""
    route = shop.route("page")
    shop.warm(route)
    monkeypatch.setenv(VARIABLE, "wrong-token")
    for act, target in (
        (lambda: purge_routes(shop.service(), [route], []), route),
        (lambda: check_purge(shop.service(), [route], []), "/.slipway-purge-check"),
    ):
        with pytest.raises(SlipwayError) as failed:
            act()
        assert str(failed.value) == (
            f"The cache refused to purge {target}: it answered 403. Expected: The cache allows the purge. Check the "
            "token and the client addresses that the cache allows. A retry is safe."
        )
    assert shop.read(route) == ("HIT", "fetch 1")


def test_the_check_purges_nothing(shop: Shop) -> None:
    """The check whether the cache accepts purges removes no page."""
    route = shop.route("page")
    shop.warm(route)
    check_purge(shop.service(), [route], [])
    assert shop.read(route) == ("HIT", "fetch 1")


def test_the_second_purge_removes_a_late_fetch(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second purge removes an old page whose fetch started before the first purge and ended after it."""
    begun, release = Event(), Event()

    def slow(_: Request) -> Answer:
        fetches = shop.origin.requested("GET").count(route)
        if fetches == 1:
            begun.set()
            assert release.wait(120)
        return Answer("old" if fetches == 1 else "new", headers={"Cache-Control": "public, max-age=600"})

    route = shop.route("page", page=slow)
    visitor = Thread(target=shop.read, args=[route])

    def end_the_fetch(seconds: float) -> None:
        """End the fetch between the two purges, so that the cache stores the old page."""
        release.set()
        visitor.join(120)
        between.append((seconds, *shop.read(route)))

    between: list[tuple[float, str, str]] = []
    visitor.start()
    assert begun.wait(120)
    monkeypatch.setattr(cancellation, "wait", end_the_fetch)
    purged = purge_routes(shop.service(origin_timeout_s=3), [route], [])
    assert between == [(3, "HIT", "old")]
    assert [read.first for read in purged.affected] == ["miss"]
    assert shop.read(route) == ("HIT", "new")


def test_a_cache_that_does_not_purge_is_detected(
    origin: Site, tmp_path: Path, require: Require, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a cache answers 200 but removes nothing, the age of the page shows it."""
    require("varnishd")
    monkeypatch.setenv(VARIABLE, TOKEN)
    with run_cache("varnish", tmp_path, origin, ("return (purge);", 'return (synth(200, "Purged"));')) as url:
        shop = Shop("varnish", url, origin, "/ignored")
        old = Answer("old", headers={"Cache-Control": "public, max-age=600", "Age": "100"})
        route = shop.route("page", page=lambda _: old)
        shop.warm(route)
        with pytest.raises(SlipwayError) as failed:
            purge_routes(shop.service(), [route], [])
        message = rf"{route} still comes from the cache after its purge \(age 1\d\d s\)\."
        assert re.fullmatch(message, failed.value.failed)
        assert failed.value.expected == (
            "The first read after a purge is a miss. Check that the purge goes to the right cache and host."
        )
        assert failed.value.retry_is_safe


def test_a_hit_without_an_age_fails(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hit after the purge without Age does not prove that the page is new."""
    monkeypatch.setenv(VARIABLE, TOKEN)
    site.pages |= {"/products/1": Answer(headers={"X-Cache": "HIT"}), "PURGE /products/1": Answer("")}
    shop = Shop("varnish", site.url, site, "/products")
    with pytest.raises(SlipwayError) as failed:
        purge_routes(shop.service(), ["/products/1"], [])
    assert failed.value.failed == "/products/1 still comes from the cache after its purge (age unknown s)."


def test_another_visitor_may_read_first(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hit passes if its Age shows that the page was fetched after the purge."""
    monkeypatch.setenv(VARIABLE, TOKEN)
    site.pages |= {"/products/1": Answer(headers={"X-Cache": "HIT", "Age": "0"}), "PURGE /products/1": Answer("")}
    shop = Shop("varnish", site.url, site, "/products")
    purged = purge_routes(shop.service(), ["/products/1"], [])
    assert purged.affected == (RouteReading(route="/products/1", first="hit", second="hit", age_s=0),)


def test_purges_go_to_the_cache_under_the_services_host(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each purge has the service's Host and the token. It is sent twice per route, before the reads."""
    monkeypatch.setenv(VARIABLE, TOKEN)
    site.pages |= {"/products/1": Answer(headers={"X-Cache": "MISS"}), "PURGE /products/1": Answer("")}
    service = Shop("varnish", site.url, site, "/products").service()
    purge_routes(service.model_copy(update={"url": site.url.replace("127.0.0.1", "localhost")}), ["/products/1"], [])
    purges = [request for request in site.requests if request.method == "PURGE"]
    assert [(each.headers["Host"], each.headers["X-Purge-Token"]) for each in purges] == [
        (f"localhost:{site.port}", TOKEN)
    ] * 2
    assert [request.method for request in site.requests] == ["PURGE", "PURGE", "GET", "GET"]


@pytest.mark.parametrize(
    ("routes", "tags", "message", "expected"),
    [
        (
            ["/admin", "/products/1"],
            [],
            "The service shop does not have these routes: /admin.",
            "Routes that the service's entry names.",
        ),
        ([], [], "The purge names no route and no tag.", "At least one route or tag."),
        ([], ["menu"], "The cache of shop cannot purge by tag.", "Routes only."),
    ],
)
def test_a_purge_that_does_not_fit_is_refused(
    site: Site, monkeypatch: pytest.MonkeyPatch, routes: list[str], tags: list[str], message: str, expected: str
) -> None:
    """A purge that does not fit the service or its cache is refused without a request to the cache."""
    monkeypatch.setenv(VARIABLE, TOKEN)
    with pytest.raises(InvalidInput) as refused:
        check_purge(Shop("nginx", site.url, site, "/products").service(), routes, tags)
    assert (refused.value.failed, refused.value.expected) == (message, expected)
    assert site.requests == []


def test_an_unreachable_cache_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that does not answer raises Unavailable, which is retried."""
    monkeypatch.setenv(VARIABLE, TOKEN)
    with Site() as gone:
        service = Shop("varnish", gone.url, gone, "/products").service()
    with pytest.raises(Unavailable) as failed:
        check_purge(service, ["/products/1"], [])
    assert str(failed.value) == (
        "The cache does not answer a purge of /.slipway-purge-check: ConnectError. "
        "Expected: The cache answers within 10 s. A retry is safe."
    )


def test_an_unknown_kind_of_cache_is_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the environment names an unknown kind, the error lists the known kinds."""
    monkeypatch.setenv("TEST_CACHE_KIND", "apache")
    service = Shop("varnish", site.url, site, "/products").service()
    assert service.cache is not None
    cache = service.cache.model_copy(update={"kind": EnvironmentReference(env="TEST_CACHE_KIND")})
    with pytest.raises(InvalidInput) as refused:
        purger_of(service.model_copy(update={"cache": cache}))
    assert refused.value.failed == (
        "[service.cache] of shop: 'apache' is not a kind of cache; use one of: "
        "akamai, bunny, cloudflare, cloudfront, fastly, nginx, nginx-refresh, squid, varnish."
    )


def test_a_change_that_purges_nothing(site: Site) -> None:
    """A change without a purge sends no request to the cache or the service."""
    assert purge_change(plan_of(Shop("varnish", site.url, site, "/products").service()), Path()) is None
    assert site.requests == []
