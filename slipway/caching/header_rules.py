"""What HTTP headers say about caching: pure rules over one response. Sources are named beside each rule. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from slipway.core.finding import Finding, Level

PRIVATE = ("private", "no-store")


def directives(cache_control: str) -> dict[str, str]:
    """Cache-Control as names and values (RFC 9111, section 5.2)."""
    pairs = (part.strip().partition("=") for part in cache_control.split(","))
    return {name.strip().lower(): value.strip(' "') for name, _, value in pairs if name.strip()}


def may_be_stored(headers: Mapping[str, str]) -> bool:
    """Whether a shared cache may store the response (RFC 9111, section 3): not private, not no-store, and fresh for a while."""
    found = directives({name.lower(): value for name, value in headers.items()}.get("cache-control", ""))
    if any(name in found for name in PRIVATE):
        return False
    return found.get("s-maxage", found.get("max-age", "0")) not in ("", "0") or "public" in found


def header_findings(route: str, identity: str, headers: Mapping[str, str], *, personal: bool) -> list[Finding]:
    """What is wrong with the caching headers of one answer; `personal` says that it shows the identity's marker."""
    lower = {name.lower(): value for name, value in headers.items()}
    place = f"{route} as {identity}"
    found = []
    if "cache-control" not in lower:
        found.append(_finding("no-cache-control", "warning", f"{place} sends no Cache-Control.", HEURISTIC))
    if personal and may_be_stored(lower):
        found.append(
            _finding("personal-storable", "error", f"{place} is personal and may be stored by a shared cache.", LEAK)
        )
    if "set-cookie" in lower and may_be_stored(lower):
        found.append(
            _finding("cookie-storable", "error", f"{place} sets a cookie on an answer that may be stored.", REPLAY)
        )
    if lower.get("vary", "").strip() == "*" and may_be_stored(lower):
        found.append(_finding("vary-star", "warning", f"{place} says Vary: * and can never be a hit.", STAR))
    return found


HEURISTIC = "Without it caches guess a lifetime from Last-Modified (RFC 9111, section 4.2.2)."
LEAK = "Another visitor would be shown this person's page. Send Cache-Control: private or no-store (RFC 9111, section 5.2.2.7)."
REPLAY = "Caches replay Set-Cookie to every visitor (RFC 9111, section 7.3)."
STAR = "A stored response with Vary: * never matches a later request (RFC 9111, section 4.1)."


def _finding(code: str, level: Level, summary: str, explanation: str) -> Finding:
    return Finding(code=code, level=level, summary=summary, explanation=explanation)
