"""A service behind each kind of cache, for the tests that run with every purger."""

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
    """A service behind one kind of cache. Each test has its own path for its pages."""

    def __init__(self, name: str, url: str, origin: Site, path: str) -> None:
        self.kind = name.partition(" ")[0]
        self.url, self.origin, self.path = url, origin, path
        self.edge: Edge | None = None

    def service(self) -> Service:
        """Return the configuration of the service."""
        entry = {"kind": self.kind, "url": self.url, "token": {"env": VARIABLE}, **CDN_KEYS.get(self.kind, {})}
        if self.kind in CDNS:
            entry["url"] = f"{self.url}/api"
        cache = Cache.model_validate(entry)
        return Service(name="shop", url=self.url, routes=("/*",), cache=cache)

    def purger(self) -> Purger:
        """Return a purger, created as a step creates it."""
        return purger_of(self.service())

    def route(self, name: str, tags: str = "none", **headers: str) -> str:
        """Add a page that shows how often it was fetched. Return its route."""
        route = f"{self.path}/{name}"
        response_headers = {"Cache-Control": "public, max-age=600", "Surrogate-Key": tags, **headers}
        self.origin.pages[route] = lambda _: Answer(
            f"fetch {self.origin.requested('GET').count(route)}", headers=response_headers
        )
        return route

    def read(self, route: str, **headers: str) -> tuple[str, str]:
        """Read a page. Return the cache's label and the body."""
        request_headers = {name.replace("_", "-"): value for name, value in headers.items()}
        response = httpx.get(self.url + route, headers=request_headers, trust_env=False, timeout=60)
        return cache_class(response.headers), response.text

    def warm(self, *routes: str) -> None:
        """Bring routes into the cache, and check that they are hits of the first fetch."""
        for route in routes:
            self.read(route)
            assert self.read(route) == ("hit", "fetch 1")

    def assert_renewed(self, *routes: str) -> None:
        """Check that readers get a new page of purged routes, fetched by the reader or by a purger that refreshes."""
        for route in routes:
            assert self.read(route) == ("hit" if self.kind == "nginx-refresh" else "miss", "fetch 2")

    def assert_unchanged(self, *routes: str) -> None:
        """Check that the cache still has the first fetch of these routes."""
        for route in routes:
            assert self.read(route) == ("hit", "fetch 1")


def fronts_that_can(ability: Ability) -> list[str]:
    """Return the names of the fronts whose purger has an ability."""
    return [name for name in FRONTS if ability in KINDS[name.partition(" ")[0]].abilities]
