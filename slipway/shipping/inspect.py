"""Inspect how the routes of a change are cached, and whether a signed-in page leaks to other visitors."""

from __future__ import annotations

import httpx

from slipway.caching.header_rules import header_findings
from slipway.config.plan import Plan
from slipway.config.service import Identity, Service
from slipway.core.errors import SlipwayError
from slipway.core.finding import Finding
from slipway.core.frozen import ANONYMOUS, RouteAs
from slipway.measurement.cache_class import cache_class
from slipway.measurement.pages import get, service_client
from slipway.shipping.outcomes import Inspection


def inspect_headers(plan: Plan) -> Inspection:
    """Read every route of the change, with a new client for each identity, and return the findings.

    Raises SlipwayError if a route does not answer, a sign-in fails, or a finding is an error. A change is not shipped
    to a service that shows one person's page to another.
    """
    routes = _routes_of(plan)
    findings: list[Finding] = []
    for name in dict.fromkeys(item.identity for item in routes):
        identity = plan.service.identity(name)
        with service_client(plan.service, identity) as client:
            for item in routes:
                if item.identity == name:
                    response = get(client, item.route, plan.service.name)
                    findings += _findings_of(plan.service, item, identity, response)
    _raise_errors(findings)
    return Inspection(findings=tuple(findings))


def _routes_of(plan: Plan) -> list[RouteAs]:
    routes = [RouteAs(route=route) for route in (plan.change.purge.routes if plan.change.purge else ())]
    for pair in plan.change.pairs():
        routes.append(RouteAs(route=pair.route, identity=pair.identity))
        routes.append(RouteAs(route=pair.control_route, identity=pair.control_identity))
    anonymous = [
        RouteAs(route=item.route) for item in routes if item.identity != ANONYMOUS
    ]  # read last, after the cache could have stored a personal page
    return list(dict.fromkeys([*(r for r in routes if r.identity != ANONYMOUS), *anonymous, *routes]))


def _findings_of(service: Service, item: RouteAs, identity: Identity | None, response: httpx.Response) -> list[Finding]:
    if response.status_code >= 400:
        raise SlipwayError(
            f"Service {service.name} answers {item.route} as {item.identity} with {response.status_code}.",
            expected="The route answers with a status below 400, so that it can be measured.",
            retry_is_safe=True,
        )
    personal = any(other.marker in response.text for other in service.identities)
    findings = header_findings(item.route, item.identity, response.headers, personal=personal)
    if personal and identity is None:
        findings.append(_leak(item.route))
    findings.append(_headers_finding(item, response))
    return findings


def _leak(route: str) -> Finding:
    return Finding(
        code="personal-leak",
        level="error",
        summary=f"{route} shows a signed-in person's page to an anonymous visitor.",
        explanation="The cache stored a personal page. Purge it, and send Cache-Control: private or no-store.",
    )


def _headers_finding(item: RouteAs, response: httpx.Response) -> Finding:
    return Finding(
        code="cache-headers",
        level="info",
        summary=f"{item.route} as {item.identity}: {response.status_code}, {cache_class(response.headers)}, "
        f"Cache-Control: {response.headers.get('cache-control', 'none')}",
        explanation="The response headers at the time of the inspection.",
    )


def _raise_errors(findings: list[Finding]) -> None:
    errors = [finding for finding in findings if finding.level == "error"]
    if errors:
        raise SlipwayError(
            " ".join(finding.summary for finding in errors),
            expected="No shared cache stores a personal page. " + errors[0].explanation,
            retry_is_safe=True,
        )
