"""What a change will take out of the cache, exactly, before anything does."""

from __future__ import annotations

import re
from pathlib import Path

import httpx

from slipway.config.change import RoutesByIds
from slipway.config.plan import Plan, PurgePlan
from slipway.config.service import Service
from slipway.core.errors import InvalidInput
from slipway.databases.opening import live_database
from slipway.measurement.pages import get, visitor

MOST = 500  # routes of one pattern; each is purged and read by itself
ID = re.compile(r"[A-Za-z0-9._~-]{1,100}")  # what stands in a path as it is (RFC 3986, section 2.3)
TAG_HEADERS = ("surrogate-key", "cache-tag", "cdn-tag")  # where a page says its tags; most CDNs keep them to themselves


def purge_plan_of(plan: Plan, config_folder: Path) -> PurgePlan | None:
    """The routes and tags of the change, with the ids that its queries find now; None where it purges nothing.

    Raises InvalidInput for a query that the database refuses and for ids that are none, Unavailable for a part that is away.
    """
    purge = plan.change.purge
    if purge is None:
        return None
    routes = [*purge.routes]
    for derived in purge.by_ids:
        routes += _routes(plan.service, derived, config_folder)
    with visitor(plan.service, None) as client:
        known = [route for route in _known(plan) if route not in routes]
        tagged = tuple(route for route in known if purge.tags and has_tag(client, plan.service, route, purge.tags))
    return PurgePlan(routes=tuple(dict.fromkeys(routes)), tags=purge.tags, tagged=tagged)


def has_tag(client: httpx.Client, service: Service, route: str, tags: tuple[str, ...]) -> bool:
    """Whether a page says that it carries one of the tags."""
    headers = get(client, route, service.name).headers
    carried = {tag for name in TAG_HEADERS for tag in headers.get(name, "").lower().replace(",", " ").split()}
    return any(tag in carried for tag in tags)


def _routes(service: Service, derived: RoutesByIds, config_folder: Path) -> list[str]:
    found = live_database(service, config_folder).first_column(derived.ids, MOST + 1)
    if len(found) > MOST:
        raise InvalidInput(
            f"The query for {derived.pattern} finds more than {MOST} ids.", expected="Fewer, or a tag that they carry."
        )
    wrong = [str(one) for one in found if one is None or not ID.fullmatch(str(one))]
    if wrong:
        raise InvalidInput(
            f"The query for {derived.pattern} finds {wrong[0][:40]!r}, which is no id.",
            expected="Numbers, or letters, digits and . _ ~ - in the first column.",
        )
    return [derived.route(str(one)) for one in found]


def _known(plan: Plan) -> list[str]:
    """The pages that the entry and the change name in full."""
    service = plan.service
    named = [route for route in service.routes if "*" not in route]
    named += [*(service.cache.controls if service.cache else ()), *(item.route for item in service.probe.watch)]
    for pair in plan.change.pairs():
        named += [pair.route, pair.control_route]
    return list(dict.fromkeys(named))
