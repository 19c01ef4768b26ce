"""Rules for shared caches that httplint does not check. Pure.

Sources: RFC 9111 (HTTP Caching), RFC 9213 (Targeted Cache Control), Edge Architecture 1.0 (W3C note, Surrogate-Control).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from slipway.auditing.report import AuditItem, Observation, PagesRead
from slipway.auditing.results import checked
from slipway.caching.header_rules import PRIVATE, directives, may_be_stored
from slipway.core.finding import Finding

TARGETED = "cdn-cache-control"
SURROGATE = "surrogate-control"
# A Structured Field dictionary (RFC 9651, section 3.2): lower-case keys, integers, tokens, strings and booleans.
MEMBER = re.compile(r'[a-z*][a-z0-9_.*-]*(=(-?\d+|"[^"]*"|[A-Za-z*][\w.*-]*|\?[01]))?')


def caching_items(pages: PagesRead, lint_findings: Sequence[tuple[str, Finding]]) -> list[AuditItem]:
    """Return the items about caching; `lint_findings` are httplint's findings, each with the place of its response."""
    observations = pages.observations
    personal = [problem for page in observations if (problem := unprotected(page))]
    return [
        _lint_item(lint_findings),
        checked("cookie-storable", *COOKIE[:2], [page.place for page in observations if _is_replayed(page)], COOKIE[2]),
        checked("personal-pages", *PERSONAL[:2], personal, PERSONAL[2]),
        checked("vary", *VARY[:2], _vary_problems(observations), VARY[2]),
        checked(
            "targeted-cache-control", *CDN[:2], [p for page in observations for p in _problems(page, TARGETED)], CDN[2]
        ),
        checked(
            "surrogate-control", *EDGE[:2], [p for page in observations for p in _problems(page, SURROGATE)], EDGE[2]
        ),
    ]


def storable(observation: Observation) -> bool:
    """Return whether a shared cache may store the response, by Cache-Control or by a header that overrides it for a CDN."""
    if _allows(observation, TARGETED) or _allows(observation, SURROGATE):
        return True
    return may_be_stored({"cache-control": observation.header("cache-control")})


def unprotected(observation: Observation) -> str:
    """Return why a personal page can reach other users, or "" for a protected page or a page that is not personal."""
    if not observation.shows:
        return ""
    if storable(observation):
        return f"{observation.place} is personal and may be stored by a shared cache"
    cache_control = directives(observation.header("cache-control"))
    if any(name in cache_control for name in PRIVATE) or "cookie" in _varies(observation):
        return ""
    return f"{observation.place} is personal and sends neither private nor no-store nor Vary: Cookie"


def _lint_item(findings: Sequence[tuple[str, Finding]]) -> AuditItem:
    lines = {level: [f"{place}: {note.summary} ({note.code})" for place, note in findings if note.level == level]
             for level in ("error", "warning")}  # fmt: skip
    return checked("header-lint", *LINT[:2], lines["error"], LINT[2], notes=lines["warning"])


def _is_replayed(observation: Observation) -> bool:
    return bool(observation.values("set-cookie")) and storable(observation)


def _vary_problems(observations: Sequence[Observation]) -> list[str]:
    """Return the pages whose content depends on the cookie, but whose cache key does not (RFC 9111, section 4.1)."""
    personal = {observation.target for observation in observations if observation.shows}
    problems = []
    for observation in observations:
        if not storable(observation):
            continue
        if "*" in _varies(observation):
            problems.append(f"{observation.place} sends Vary: * and can never be a hit")
        elif observation.target in personal and "cookie" not in _varies(observation):
            problems.append(
                f"{observation.place} may be stored without Vary: Cookie, but signed-in users see another page"
            )
    return problems


def _problems(observation: Observation, name: str) -> list[str]:
    value = observation.header(name)
    if not value:
        return []
    problems = []
    members = [part.strip() for part in value.split(",")]
    if name == TARGETED and not all(MEMBER.fullmatch(member) for member in members):
        problems.append(f"{observation.place}: CDN-Cache-Control is not a dictionary, so caches ignore all of it")
    if _allows(observation, name) and (observation.shows or observation.values("set-cookie")):
        content = "a personal page" if observation.shows else "a response that sets a cookie"
        problems.append(f"{observation.place}: {name} lets a CDN store {content}")
    return problems


def _allows(observation: Observation, name: str) -> bool:
    values = directives(observation.header(name))
    if not values or any(directive in values for directive in PRIVATE):
        return False
    lifetime = values.get("s-maxage", values.get("max-age", "0")).partition("+")[0]  # Surrogate-Control: max-age=60+30
    return lifetime.isdigit() and int(lifetime) > 0


def _varies(observation: Observation) -> set[str]:
    return {name.strip().lower() for name in observation.header("vary").split(",") if name.strip()}


LINT = (
    "httplint found no error in the headers.",
    "httplint found errors in the headers.",
    "Fix the headers in the evidence. redbot.org explains each code.",
)
COOKIE = (
    "No response that may be stored sets a cookie.",
    "A response that a shared cache may store sets a cookie.",
    "Send Cache-Control: private or no-store with Set-Cookie: caches replay it to every visitor (RFC 9111, section 7.3).",
)
PERSONAL = (
    "Personal pages are protected from shared caches.",
    "A personal page may be stored and shown to other users.",
    "Send Cache-Control: private or no-store (RFC 9111, sections 5.2.2.5 and 5.2.2.7).",
)
VARY = (
    "Vary is correct on all pages that may be stored.",
    "Vary is wrong on a page that may be stored.",
    "Send Vary: Cookie if a page depends on the cookie, and never send Vary: * (RFC 9111, section 4.1).",
)
CDN = (
    "CDN-Cache-Control does not let a CDN store personal pages.",
    "CDN-Cache-Control is wrong.",
    "CDN-Cache-Control overrides Cache-Control for a CDN. Send private or no-store in it too (RFC 9213, section 2).",
)
EDGE = (
    "Surrogate-Control does not let a surrogate store personal pages.",
    "Surrogate-Control is wrong.",
    "Surrogate-Control overrides Cache-Control for a surrogate. Send no-store in it too (Edge Architecture, section 2).",
)
