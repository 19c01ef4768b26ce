"""The kinds of cache that a service entry may name, with the required and the allowed keys of each kind."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class AllowedKeys:
    """Keys of [service.cache] that only some kinds of cache have."""

    required: frozenset[str]
    allowed: frozenset[str] = frozenset()


_OWN = AllowedKeys(frozenset({"url"}), frozenset({"token_header"}))
_CDN = AllowedKeys(frozenset({"zone"}), frozenset({"url"}))
OWN_CACHES = ("varnish", "nginx", "nginx-refresh", "squid")
CDNS = ("fastly", "cloudflare", "bunny", "cloudfront", "akamai")
KEYS = {
    **dict.fromkeys(OWN_CACHES, _OWN),
    **dict.fromkeys(CDNS, _CDN),
    "cloudfront": AllowedKeys(
        frozenset({"zone", "credentials.access_key_id"}), frozenset({"url", "credentials.session_token"})
    ),
    "akamai": AllowedKeys(frozenset({"url", "credentials.client_token", "credentials.access_token"})),
}


def key_error(kind: str, given: Collection[str]) -> str:
    """Return which keys are missing or not allowed for a kind of cache, as a message; empty if the keys are valid."""
    if kind not in KEYS:
        return f"{kind!r} is not a kind of cache; use one of: {', '.join(sorted(KEYS))}"
    keys = KEYS[kind]
    missing, unknown = keys.required - set(given), set(given) - keys.required - keys.allowed
    if missing:
        return f"a cache of kind {kind} needs {', '.join(sorted(missing))}"
    return f"a cache of kind {kind} does not have {', '.join(sorted(unknown))}" if unknown else ""
