"""Purge only the affected routes, twice, and verify the purge by reading.

The second purge runs after the origin's time-out. It removes pages that the cache was fetching during the change: such a
fetch ends after the first purge and stores the old page as fresh.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

from slipway.caching.outcomes import Purged, RouteReading
from slipway.caching.purge_plan import has_tag, purge_plan_of
from slipway.caching.purgers import purger_of
from slipway.caching.purgers.purger import Purger
from slipway.config.plan import Plan
from slipway.config.service import Service
from slipway.core import cancellation
from slipway.core.errors import InvalidInput, SlipwayError
from slipway.measurement.cache_class import cache_class
from slipway.measurement.pages import get, service_client

POLL_S = 1.0  # between two reads of a page while its purge is in progress


def check_purge(service: Service, routes: Sequence[str], tags: Sequence[str]) -> None:
    """Check a purge against its service, and that the cache accepts purges. Raises InvalidInput and the errors of `Purger`."""
    foreign = [route for route in routes if not service.has_route(route)]
    if foreign:
        raise InvalidInput(
            f"The service {service.name} does not have these routes: {', '.join(foreign)}.",
            expected="Routes that the service's entry names.",
        )
    if not routes and not tags:
        raise InvalidInput("The purge names no route and no tag.", expected="At least one route or tag.")
    with purger_of(service) as purger:
        if tags and "tag" not in purger.abilities:
            raise InvalidInput(f"The cache of {service.name} cannot purge by tag.", expected="Routes only.")
        purger.check()


def purge_change(plan: Plan, config_folder: Path) -> Purged | None:
    """Purge the routes and tags of the plan's purge plan, or return None if it is empty. Raises as `purge_routes`.

    The plan of a later rollback has no purge plan. Then the ids are read from the database, which is already rolled back.
    """
    purge_plan = plan.leaving or purge_plan_of(plan, config_folder)
    if purge_plan is None or not (purge_plan.routes or purge_plan.tags):
        return None
    extra = [pair.control_route for pair in plan.change.pairs()]
    return purge_routes(plan.service, purge_plan.routes, purge_plan.tags, extra_controls=extra)


def purge_routes(
    service: Service, routes: Sequence[str], tags: Sequence[str], *, extra_controls: Sequence[str] = ()
) -> Purged:
    """Purge routes and tags, wait for the origin's time-out, purge again, and read affected and control routes.

    Each route is read in every variant that the service declares. Raises SlipwayError if the cache refuses the purge, or
    still serves an affected route from before the purge. A control that is no longer a hit, or is younger, is marked as
    evicted.
    """
    assert service.cache is not None  # checked by check_fit and by the purge-routes job
    began = time.monotonic()
    with service_client(service, None) as client, purger_of(service) as purger:
        controls = [route for route in dict.fromkeys([*service.cache.controls, *extra_controls]) if route not in routes]
        tagged = [route for route in controls if has_tag(client, service, route, tuple(tags))]
        pages = _Pages(client, service, purger)
        before = pages.read([route for route in controls if route not in tagged])  # reading also fills the cache
        purger.purge(routes=routes, tags=tags)
        cancellation.wait(max(service.cache.origin_timeout_s, purger.apart_s))
        purger.purge(routes=routes, tags=tags)
        affected = pages.read_affected([*routes, *tagged], time.monotonic())
        after = tuple(_mark_evicted(reading, pages.read_one(reading.route, reading.variant)) for reading in before)
    return Purged(
        routes=tuple(routes),
        tags=tuple(tags),
        affected=affected,
        controls=after,
        seconds=round(time.monotonic() - began, 3),
    )


def _mark_evicted(before: RouteReading, after: RouteReading) -> RouteReading:
    """Mark a control that was in the cache before the purge, and is now missing or younger."""
    younger = before.age_s is not None and after.age_s is not None and after.age_s < before.age_s
    return after.model_copy(update={"evicted": before.second == "hit" and (after.first != "hit" or younger)})


class _Pages:
    """The pages of a service for anonymous visitors, in every declared variant."""

    def __init__(self, client: httpx.Client, service: Service, purger: Purger) -> None:
        self._client, self._service, self._purger = client, service, purger
        declared = service.cache.variants if service.cache else ()
        self._variants: dict[str, Mapping[str, str]] = {"": {}} | {
            _format_headers(headers): headers for headers in declared
        }

    def read(self, routes: Sequence[str]) -> tuple[RouteReading, ...]:
        """Read each route in each variant."""
        return tuple(self.read_one(route, variant) for route in routes for variant in self._variants)

    def read_affected(self, routes: Sequence[str], purged_at: float) -> tuple[RouteReading, ...]:
        """Read each purged route in each variant. Raises SlipwayError if the cache still serves an old page."""
        return tuple(self._read_affected(route, variant, purged_at) for route in routes for variant in self._variants)

    def read_one(self, route: str, variant: str) -> RouteReading:
        """Read a route twice in one variant."""
        headers = self._variants[variant]
        first, second = (get(self._client, route, self._service.name, headers=headers) for _ in range(2))
        age = first.headers.get("age", "")
        return RouteReading(
            route=route,
            variant=variant,
            first=cache_class(first.headers),
            second=cache_class(second.headers),
            age_s=int(age) if age.isdigit() else None,
        )

    def _read_affected(self, route: str, variant: str, purged_at: float) -> RouteReading:
        """Read a route twice, and again while the purge may still be in progress.

        The first read may be a hit only if its Age proves that another visitor fetched the page after the purge, or if the
        cache refreshes pages instead of removing them: then the purger has already compared the page with the origin's.
        """
        while True:
            reading = self.read_one(route, variant)
            since = time.monotonic() - purged_at
            young = reading.age_s is not None and reading.age_s <= since + 1
            if reading.first != "hit" or young or self._purger.refreshes:
                return reading
            if since >= self._purger.settles_s:
                raise SlipwayError(
                    f"{reading.page} still comes from the cache after its purge (age {reading.age_s or 'unknown'} s).",
                    expected="The first read after a purge is a miss. Check that the purge goes to the right cache and host.",
                    retry_is_safe=True,
                )
            cancellation.wait(POLL_S)


def _format_headers(headers: Mapping[str, str]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in headers.items())
