"""Services behind each kind of cache, as the suites over all purgers see them."""

from __future__ import annotations

import httpx

from slipway.caching.purgers import KINDS, purger_of
from slipway.caching.purgers.purger import Ability, Purger
from slipway.config.cache_kinds import CDNS
from slipway.config.service import Cache, Service
from slipway.measurement.cache_class import cache_class
from tests.providers import ZONE, Edge
from tests.sites import Answer, Site

VARIABLE = "TEST_PURGE_TOKEN"
ID_VARIABLE = "TEST_PURGE_ID"
FRONTS = ("varnish", "nginx", "nginx with the module", "nginx-refresh", "squid", *CDNS)
CDN_KEYS: dict[str, dict[str, object]] = {
    **{kind: {"zone": ZONE} for kind in ("fastly", "cloudflare", "bunny")},
    "cloudfront": {"zone": ZONE, "credentials": {"access_key_id": {"env": ID_VARIABLE}}},
    "akamai": {"credentials": {"client_token": {"env": ID_VARIABLE}, "access_token": {"env": ID_VARIABLE}}},
}


class Front:
    """A service behind a cache of a kind, with pages below a path of the test's own."""

    def __init__(self, name: str, url: str, origin: Site, path: str) -> None:
        self.kind = name.partition(" ")[0]
        self.url, self.origin, self.path = url, origin, path
        self.edge: Edge | None = None

    def service(self) -> Service:
        """The service's entry."""
        entry = {"kind": self.kind, "url": self.url, "token": {"env": VARIABLE}, **CDN_KEYS.get(self.kind, {})}
        if self.kind in CDNS:
            entry["url"] = f"{self.url}/api"
        cache = Cache.model_validate(entry)
        return Service(name="shop", url=self.url, routes=("/*",), cache=cache)

    def purger(self) -> Purger:
        """A purger as a step makes it."""
        return purger_of(self.service())

    def route(self, name: str, tags: str = "none", **headers: str) -> str:
        """Make a page that says how often it was fetched; return its route."""
        route = f"{self.path}/{name}"
        sent = {"Cache-Control": "public, max-age=600", "Surrogate-Key": tags, **headers}
        self.origin.pages[route] = lambda _: Answer(f"fetch {self.origin.asked('GET').count(route)}", headers=sent)
        return route

    def read(self, route: str, **headers: str) -> tuple[str, str]:
        """How the cache labels its answer, and the answer."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = httpx.get(self.url + route, headers=named, trust_env=False, timeout=60)
        return cache_class(answer.headers), answer.text

    def warm(self, *routes: str) -> None:
        """See that routes are hits of what was fetched first."""
        for route in routes:
            self.read(route)
            assert self.read(route) == ("hit", "fetch 1")

    def assert_renewed(self, *routes: str) -> None:
        """What readers get of a purged route is new: fetched by them, or by a purger that refreshes."""
        for route in routes:
            assert self.read(route) == ("hit" if self.kind == "nginx-refresh" else "miss", "fetch 2")

    def assert_kept(self, *routes: str) -> None:
        """Routes are as they were warmed."""
        for route in routes:
            assert self.read(route) == ("hit", "fetch 1")


def fronts_that_can(ability: Ability) -> list[str]:
    """The names of the fronts whose purger states an ability."""
    return [name for name in FRONTS if ability in KINDS[name.partition(" ")[0]].abilities]
