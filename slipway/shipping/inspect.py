"""Inspect: how the routes of a change are cached, and whether a signed-in page leaks."""

from __future__ import annotations

import httpx

from slipway.caching.header_rules import header_findings
from slipway.config.plan import Plan
from slipway.config.service import Identity, Service
from slipway.core.errors import SlipwayError
from slipway.core.finding import Finding
from slipway.core.frozen import ANONYMOUS, RouteAs
from slipway.measurement.cache_class import cache_class
from slipway.measurement.pages import get, visitor
from slipway.shipping.outcomes import Inspection


def inspect_headers(plan: Plan) -> Inspection:
    """Read every route of the change as its identity, with a fresh client each.

    Raises SlipwayError when a route does not answer, a sign-in fails, or a finding is an error: a change is not
    shipped to a service that shows one person's page to another.
    """
    routes = _routes_of(plan)
    findings: list[Finding] = []
    for name in dict.fromkeys(item.identity for item in routes):
        identity = plan.service.identity(name)
        with visitor(plan.service, identity) as client:
            for item in routes:
                if item.identity == name:
                    answer = get(client, item.route, plan.service.name)
                    findings += _findings_of(plan.service, item, identity, answer)
    _refuse_errors(findings)
    return Inspection(findings=tuple(findings))


def _routes_of(plan: Plan) -> list[RouteAs]:
    routes = [RouteAs(route=route) for route in (plan.change.purge.routes if plan.change.purge else ())]
    for pair in plan.change.pairs():
        routes.append(RouteAs(route=pair.route, identity=pair.identity))
        routes.append(RouteAs(route=pair.control_route, identity=pair.control_identity))
    anonymous = [
        RouteAs(route=item.route) for item in routes if item.identity != ANONYMOUS
    ]  # read last: a leak shows here
    return list(dict.fromkeys([*(r for r in routes if r.identity != ANONYMOUS), *anonymous, *routes]))


def _findings_of(service: Service, item: RouteAs, identity: Identity | None, answer: httpx.Response) -> list[Finding]:
    if answer.status_code >= 400:
        raise SlipwayError(
            f"Service {service.name} answers {item.route} as {item.identity} with {answer.status_code}.",
            expected="A page that can be measured.",
            retry_is_safe=True,
        )
    personal = any(other.marker in answer.text for other in service.identities)
    found = header_findings(item.route, item.identity, answer.headers, personal=personal)
    if personal and identity is None:
        found.append(_leak(item.route))
    found.append(_seen(item, answer))
    return found


def _leak(route: str) -> Finding:
    return Finding(
        code="personal-leak",
        level="error",
        summary=f"{route} shows a signed-in person's page to an anonymous visitor.",
        explanation="The cache stored a personal page. Purge it, and send Cache-Control: private or no-store.",
    )


def _seen(item: RouteAs, answer: httpx.Response) -> Finding:
    return Finding(
        code="cache-headers",
        level="info",
        summary=f"{item.route} as {item.identity}: {answer.status_code}, {cache_class(answer.headers)}, "
        f"Cache-Control: {answer.headers.get('cache-control', 'none')}",
        explanation="What the route sent when it was inspected.",
    )


def _refuse_errors(findings: list[Finding]) -> None:
    errors = [finding for finding in findings if finding.level == "error"]
    if errors:
        raise SlipwayError(
            " ".join(finding.summary for finding in errors),
            expected="No personal page in a shared cache. " + errors[0].explanation,
            retry_is_safe=True,
        )
