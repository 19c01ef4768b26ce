"""The purge plan: the exact routes and tags that a change removes from the cache, determined before the change."""

from __future__ import annotations

import re
from pathlib import Path

import httpx

from slipway.config.change import RoutesByIds
from slipway.config.plan import Plan, PurgePlan
from slipway.config.service import Service
from slipway.core.errors import InvalidInput
from slipway.databases.opening import live_database
from slipway.measurement.pages import get, service_client

MAX_ROUTES = 500  # routes of one pattern; each is purged and read separately
ID = re.compile(r"[A-Za-z0-9._~-]{1,100}")  # characters that a path contains unescaped (RFC 3986, section 2.3)
TAG_HEADERS = ("surrogate-key", "cache-tag", "cdn-tag")  # response headers with a page's tags; most CDNs remove them


def purge_plan_of(plan: Plan, config_folder: Path) -> PurgePlan | None:
    """Return the routes and tags of the change, with the ids that its queries find now, or None if it purges nothing.

    Raises InvalidInput if the database refuses a query or an id is not valid, Unavailable if the database or service is.
    """
    purge = plan.change.purge
    if purge is None:
        return None
    routes = [*purge.routes]
    for by_ids in purge.by_ids:
        routes += _routes(plan.service, by_ids, config_folder)
    with service_client(plan.service, None) as client:
        other_routes = [route for route in _known_routes(plan) if route not in routes]
        tagged = tuple(
            route for route in other_routes if purge.tags and has_tag(client, plan.service, route, purge.tags)
        )
    return PurgePlan(routes=tuple(dict.fromkeys(routes)), tags=purge.tags, tagged=tagged)


def has_tag(client: httpx.Client, service: Service, route: str, tags: tuple[str, ...]) -> bool:
    """Return whether the headers of a page name one of the tags."""
    headers = get(client, route, service.name).headers
    page_tags = {tag for name in TAG_HEADERS for tag in headers.get(name, "").lower().replace(",", " ").split()}
    return any(tag in page_tags for tag in tags)


def _routes(service: Service, by_ids: RoutesByIds, config_folder: Path) -> list[str]:
    ids = live_database(service, config_folder).first_column(by_ids.ids, MAX_ROUTES + 1)
    if len(ids) > MAX_ROUTES:
        raise InvalidInput(
            f"The query for {by_ids.pattern} finds more than {MAX_ROUTES} ids.",
            expected="A query that finds fewer ids, or a purge by a tag of these pages.",
        )
    invalid = [str(value) for value in ids if value is None or not ID.fullmatch(str(value))]
    if invalid:
        raise InvalidInput(
            f"The query for {by_ids.pattern} finds {invalid[0][:40]!r}, which is not an id.",
            expected="Numbers, or letters, digits and . _ ~ - in the first column.",
        )
    return [by_ids.route(str(value)) for value in ids]


def _known_routes(plan: Plan) -> list[str]:
    """Return the routes without wildcards that the entry and the change name."""
    service = plan.service
    routes = [route for route in service.routes if "*" not in route]
    routes += [*(service.cache.controls if service.cache else ()), *(item.route for item in service.probe.watch)]
    for pair in plan.change.pairs():
        routes += [pair.route, pair.control_route]
    return list(dict.fromkeys(routes))
