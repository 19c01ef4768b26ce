"""Purge only the affected routes, twice, and prove it by reading.

The second purge, after the origin's own time-out, catches the page that was being fetched while the change
happened: such a fetch ends after the first purge and stores the old page as fresh.
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
from slipway.measurement.pages import get, visitor

POLL_S = 1.0  # between two looks at a purge that is under way


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


def purge_change(plan: Plan, config_folder: Path) -> Purged | None:
    """Purge what the change names, as its plan lists it; None where that is nothing. Raises as `purge_routes`.

    A way back later has no such list: then the ids are those that the database has now that it is back.
    """
    leaving = plan.leaving or purge_plan_of(plan, config_folder)
    if leaving is None or not (leaving.routes or leaving.tags):
        return None
    extra = [pair.control_route for pair in plan.change.pairs()]
    return purge_routes(plan.service, leaving.routes, leaving.tags, extra_controls=extra)


def purge_routes(
    service: Service, routes: Sequence[str], tags: Sequence[str], *, extra_controls: Sequence[str] = ()
) -> Purged:
    """Purge routes and tags, wait the origin's time-out, purge again, and read affected and control routes.

    Each is read in every variant that the service declares. Raises SlipwayError when the cache refuses, or still serves an
    affected route from before the purge. A control that is no longer a hit, or a younger one, is marked in the answer.
    """
    assert service.cache is not None  # held by check_fit and by the purge-routes job
    began = time.monotonic()
    with visitor(service, None) as client, purger_of(service) as purger:
        controls = [route for route in dict.fromkeys([*service.cache.controls, *extra_controls]) if route not in routes]
        tagged = [route for route in controls if has_tag(client, service, route, tuple(tags))]
        pages = _Pages(client, service, purger)
        before = pages.read([route for route in controls if route not in tagged])  # also so that they are hits
        purger.purge(routes=routes, tags=tags)
        cancellation.wait(max(service.cache.origin_timeout_s, purger.apart_s))
        purger.purge(routes=routes, tags=tags)
        affected = pages.read_affected([*routes, *tagged], time.monotonic())
        kept = tuple(_held_against(then, pages.read_one(then.route, then.variant)) for then in before)
    return Purged(
        routes=tuple(routes),
        tags=tuple(tags),
        affected=affected,
        controls=kept,
        seconds=round(time.monotonic() - began, 3),
    )


def _held_against(then: RouteReading, now: RouteReading) -> RouteReading:
    """A control that was in the cache must still be there, and no younger than it was."""
    younger = then.age_s is not None and now.age_s is not None and now.age_s < then.age_s
    return now.model_copy(update={"evicted": then.second == "hit" and (now.first != "hit" or younger)})


class _Pages:
    """The pages of a service as nobody sees them, in every variant that it declares."""

    def __init__(self, client: httpx.Client, service: Service, purger: Purger) -> None:
        self._client, self._service, self._purger = client, service, purger
        declared = service.cache.variants if service.cache else ()
        self._variants: dict[str, Mapping[str, str]] = {"": {}} | {_words(headers): headers for headers in declared}

    def read(self, routes: Sequence[str]) -> tuple[RouteReading, ...]:
        """Each route in each variant."""
        return tuple(self.read_one(route, variant) for route in routes for variant in self._variants)

    def read_affected(self, routes: Sequence[str], purged_at: float) -> tuple[RouteReading, ...]:
        """The same for what was purged. Raises SlipwayError for what still comes from before."""
        return tuple(self._read_affected(route, variant, purged_at) for route in routes for variant in self._variants)

    def read_one(self, route: str, variant: str) -> RouteReading:
        """Two reads."""
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
        """Read twice, and again where the purge may still be under way.

        A first hit is fine only when its Age proves that another visitor fetched it after the purge, or when the cache
        refreshes instead of removing: then the purger itself has compared what is served with what the origin gave.
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
                    expected="The first read after a purge to be a miss; is the purge sent to the right cache and host?",
                    retry_is_safe=True,
                )
            cancellation.wait(POLL_S)


def _words(headers: Mapping[str, str]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in headers.items())
