"""Purge only the affected routes, twice, and prove it by reading.

The second purge, after the origin's own time-out, catches the page that was being fetched while the change
happened: such a fetch ends after the first purge and stores the old page as fresh.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import httpx

from slipway import interruption
from slipway.adapters.caches import purger_of
from slipway.adapters.caches.purging import Purger
from slipway.adapters.pages import get, visitor
from slipway.errors import InvalidInput, SlipwayError
from slipway.outcomes import Plan, Purged, RouteReading
from slipway.rules.caching import cache_class
from slipway.service import Service

POLL_S = 1.0  # between two looks at a purge that is under way
TAG_HEADERS = ("surrogate-key", "cache-tag", "cdn-tag")  # where a page says its tags; most CDNs keep them to themselves


def check_purge(service: Service, routes: Sequence[str], tags: Sequence[str]) -> None:
    """See that a purge fits its service and that the cache accepts it. Raises InvalidInput, or as the purger does."""
    foreign = [route for route in routes if not service.has_route(route)]
    if foreign:
        raise InvalidInput(
            f"Outside the service {service.name}: {', '.join(foreign)}.", expected="Routes that its entry names."
        )
    if not routes and not tags:
        raise InvalidInput("Neither a route nor a tag is named.", expected="At least one route or tag.")
    with purger_of(service) as purger:
        if tags and "tag" not in purger.abilities:
            raise InvalidInput(f"The cache of {service.name} cannot purge by tag.", expected="Routes only.")
        purger.check()


def purge_change(plan: Plan) -> Purged | None:
    """Purge what the change names; None where it names nothing. Raises as `purge_routes`."""
    if plan.change.purge is None:
        return None
    extra = [pair.control_route for pair in plan.change.pairs()]
    return purge_routes(plan.service, plan.change.purge.routes, plan.change.purge.tags, extra_controls=extra)


def purge_routes(
    service: Service, routes: Sequence[str], tags: Sequence[str], *, extra_controls: Sequence[str] = ()
) -> Purged:
    """Purge routes and tags, wait the origin's time-out, purge again, and read affected and control routes.

    Raises SlipwayError when the cache refuses, or still serves an affected route from before the purge. A control
    that is no longer a hit is told in the answer.
    """
    assert service.cache is not None  # held by check_fit and by the purge-routes job
    began = time.monotonic()
    with visitor(service, None) as client, purger_of(service) as purger:
        controls = [route for route in dict.fromkeys([*service.cache.controls, *extra_controls]) if route not in routes]
        tagged = [route for route in controls if _has_tag(client, service, route, tags)]
        controls = [route for route in controls if route not in tagged]
        for route in controls:
            get(client, route, service.name)  # so that a control is a hit before the purge
        purger.purge(routes=routes, tags=tags)
        interruption.wait(max(service.cache.origin_timeout_s, purger.apart_s))
        purger.purge(routes=routes, tags=tags)
        purged_at = time.monotonic()
        affected = tuple(_read_affected(client, service, route, purger, purged_at) for route in [*routes, *tagged])
        kept = tuple(_read(client, service, route) for route in controls)
    return Purged(
        routes=tuple(routes),
        tags=tuple(tags),
        affected=affected,
        controls=kept,
        seconds=round(time.monotonic() - began, 3),
    )


def _has_tag(client: httpx.Client, service: Service, route: str, tags: Sequence[str]) -> bool:
    headers = get(client, route, service.name).headers
    carried = {tag for name in TAG_HEADERS for tag in headers.get(name, "").lower().replace(",", " ").split()}
    return any(tag in carried for tag in tags)


def _read_affected(
    client: httpx.Client, service: Service, route: str, purger: Purger, purged_at: float
) -> RouteReading:
    """Read twice, and again where the purge may still be under way.

    A first hit is fine only when its Age proves that another visitor fetched it after the purge, or when the cache
    refreshes instead of removing: then the purger itself has compared what is served with what the origin gave.
    """
    while True:
        reading = _read(client, service, route)
        since = time.monotonic() - purged_at
        young = reading.age_s is not None and reading.age_s <= since + 1
        if reading.first != "hit" or young or purger.refreshes:
            return reading
        if since >= purger.settles_s:
            raise SlipwayError(
                f"{route} still comes from the cache after its purge (age {reading.age_s or 'unknown'} s).",
                expected="The first read after a purge to be a miss; is the purge sent to the right cache and host?",
                retry_is_safe=True,
            )
        interruption.wait(POLL_S)


def _read(client: httpx.Client, service: Service, route: str) -> RouteReading:
    first, second = get(client, route, service.name), get(client, route, service.name)
    age = first.headers.get("age", "")
    return RouteReading(
        route=route,
        first=cache_class(first.headers),
        second=cache_class(second.headers),
        age_s=int(age) if age.isdigit() else None,
    )
