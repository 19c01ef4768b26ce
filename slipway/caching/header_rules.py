"""Rules for the caching headers of one HTTP response, with the source of each rule. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from slipway.core.finding import Finding, Level

PRIVATE = ("private", "no-store")


def directives(cache_control: str) -> dict[str, str]:
    """Return the directives of Cache-Control as names and values (RFC 9111, section 5.2)."""
    pairs = (part.strip().partition("=") for part in cache_control.split(","))
    return {name.strip().lower(): value.strip(' "') for name, _, value in pairs if name.strip()}


def may_be_stored(headers: Mapping[str, str]) -> bool:
    """Return whether a shared cache may store the response: not private, not no-store, and fresh (RFC 9111, section 3)."""
    cache_control = directives({name.lower(): value for name, value in headers.items()}.get("cache-control", ""))
    if any(name in cache_control for name in PRIVATE):
        return False
    return (
        cache_control.get("s-maxage", cache_control.get("max-age", "0")) not in ("", "0") or "public" in cache_control
    )


def header_findings(route: str, identity: str, headers: Mapping[str, str], *, personal: bool) -> list[Finding]:
    """Return the findings about the caching headers of a response; `personal` means that it shows the identity's marker."""
    lower = {name.lower(): value for name, value in headers.items()}
    place = f"{route} as {identity}"
    findings = []
    if "cache-control" not in lower:
        findings.append(_finding("no-cache-control", "warning", f"{place} sends no Cache-Control.", HEURISTIC))
    if personal and may_be_stored(lower):
        findings.append(
            _finding("personal-storable", "error", f"{place} is personal and may be stored by a shared cache.", LEAK)
        )
    if "set-cookie" in lower and may_be_stored(lower):
        findings.append(
            _finding("cookie-storable", "error", f"{place} sets a cookie on a response that may be stored.", REPLAY)
        )
    if lower.get("vary", "").strip() == "*" and may_be_stored(lower):
        findings.append(_finding("vary-star", "warning", f"{place} sends Vary: * and can never be a hit.", STAR))
    return findings


HEURISTIC = "Without Cache-Control, caches guess a lifetime from Last-Modified (RFC 9111, section 4.2.2)."
LEAK = "Other visitors could see this user's page. Send Cache-Control: private or no-store (RFC 9111, section 5.2.2.7)."
REPLAY = "Caches replay Set-Cookie to every visitor (RFC 9111, section 7.3)."
STAR = "A stored response with Vary: * never matches a later request (RFC 9111, section 4.1)."


def _finding(code: str, level: Level, summary: str, explanation: str) -> Finding:
    return Finding(code=code, level=level, summary=summary, explanation=explanation)
