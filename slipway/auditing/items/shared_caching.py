"""What a shared cache may do with a service's answers, beside what httplint notices. Pure.

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


def caching_items(visit: PagesRead, linted: Sequence[tuple[str, Finding]]) -> list[AuditItem]:
    """The items about caching; `linted` are httplint's notes, each with the place of its answer."""
    seen = visit.observations
    return [
        _lint(linted),
        checked("cookie-storable", *COOKIE[:2], [one.place for one in seen if _replays(one)], COOKIE[2]),
        checked("personal-pages", *PERSONAL[:2], [told for one in seen if (told := unprotected(one))], PERSONAL[2]),
        checked("vary", *VARY[:2], _vary_problems(seen), VARY[2]),
        checked("targeted-cache-control", *CDN[:2], [w for one in seen for w in _targeted(one, TARGETED)], CDN[2]),
        checked("surrogate-control", *EDGE[:2], [w for one in seen for w in _targeted(one, SURROGATE)], EDGE[2]),
    ]


def storable(one: Observation) -> bool:
    """Whether some shared cache may store the answer, by Cache-Control or by a field that overrides it for a CDN."""
    if _allows(one, TARGETED) or _allows(one, SURROGATE):
        return True
    return may_be_stored({"cache-control": one.header("cache-control")})


def unprotected(one: Observation) -> str:
    """In words, what lets a personal page reach others; empty for a protected page, and for one that is not personal."""
    if not one.shows:
        return ""
    if storable(one):
        return f"{one.place} is personal and may be stored by a shared cache"
    found = directives(one.header("cache-control"))
    if any(name in found for name in PRIVATE) or "cookie" in _varies(one):
        return ""
    return f"{one.place} is personal and says neither private nor no-store nor Vary: Cookie"


def _lint(linted: Sequence[tuple[str, Finding]]) -> AuditItem:
    told = {level: [f"{place}: {note.summary} ({note.code})" for place, note in linted if note.level == level]
            for level in ("error", "warning")}  # fmt: skip
    return checked("header-lint", *LINT[:2], told["error"], LINT[2], notes=told["warning"])


def _replays(one: Observation) -> bool:
    return bool(one.values("set-cookie")) and storable(one)


def _vary_problems(seen: Sequence[Observation]) -> list[str]:
    """A stored answer must be keyed by the cookie where the cookie decides what it shows (RFC 9111, section 4.1)."""
    by_cookie = {one.target for one in seen if one.shows}
    problems = []
    for one in seen:
        if not storable(one):
            continue
        if "*" in _varies(one):
            problems.append(f"{one.place} says Vary: * and can never be a hit")
        elif one.target in by_cookie and "cookie" not in _varies(one):
            problems.append(f"{one.place} may be stored without Vary: Cookie, and signed in the page is another")
    return problems


def _targeted(one: Observation, name: str) -> list[str]:
    value = one.header(name)
    if not value:
        return []
    problems = []
    members = [part.strip() for part in value.split(",")]
    if name == TARGETED and not all(MEMBER.fullmatch(member) for member in members):
        problems.append(f"{one.place}: CDN-Cache-Control is no dictionary, and caches ignore it whole")
    if _allows(one, name) and (one.shows or one.values("set-cookie")):
        what = "a personal page" if one.shows else "an answer that sets a cookie"
        problems.append(f"{one.place}: {name} lets a CDN store {what}")
    return problems


def _allows(one: Observation, name: str) -> bool:
    found = directives(one.header(name))
    if not found or any(word in found for word in PRIVATE):
        return False
    lifetime = found.get("s-maxage", found.get("max-age", "0")).partition("+")[0]  # Surrogate-Control: max-age=60+30
    return lifetime.isdigit() and int(lifetime) > 0


def _varies(one: Observation) -> set[str]:
    return {name.strip().lower() for name in one.header("vary").split(",") if name.strip()}


LINT = (
    "httplint found no error in the headers.",
    "httplint found errors in the headers.",
    "Correct the header that each line names; redbot.org explains each code.",
)
COOKIE = (
    "No answer that may be stored sets a cookie.",
    "A cookie is set on an answer that a shared cache may store.",
    "Send Cache-Control: private or no-store with Set-Cookie: caches replay it to every visitor (RFC 9111, section 7.3).",
)
PERSONAL = (
    "Personal pages keep shared caches away.",
    "A personal page may be kept for others.",
    "Send Cache-Control: private or no-store (RFC 9111, sections 5.2.2.5 and 5.2.2.7).",
)
VARY = (
    "Vary fits what may be stored.",
    "Vary does not fit what may be stored.",
    "Send Vary: Cookie where the cookie decides what a page shows, and never Vary: * (RFC 9111, section 4.1).",
)
CDN = (
    "CDN-Cache-Control opens nothing that is personal.",
    "CDN-Cache-Control is wrong.",
    "CDN-Cache-Control overrides Cache-Control for a CDN: send private or no-store in it, too (RFC 9213, section 2).",
)
EDGE = (
    "Surrogate-Control opens nothing that is personal.",
    "Surrogate-Control is wrong.",
    "Surrogate-Control overrides Cache-Control for a surrogate: send no-store in it, too (Edge Architecture, section 2).",
)
