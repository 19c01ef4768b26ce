"""The kinds of cache that an entry may name, and which keys each of them needs or may have."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class AllowedKeys:
    """Names of keys under [service.cache] that only some kinds know."""

    needed: frozenset[str]
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


def misfit(kind: str, given: Collection[str]) -> str:
    """What an entry lacks, or has too much, for a kind of cache; "" when it fits."""
    if kind not in KEYS:
        return f"{kind!r} is no kind of cache; one of: {', '.join(sorted(KEYS))}"
    keys = KEYS[kind]
    missing, more = keys.needed - set(given), set(given) - keys.needed - keys.allowed
    if missing:
        return f"a cache of kind {kind} needs {', '.join(sorted(missing))}"
    return f"a cache of kind {kind} has no {', '.join(sorted(more))}" if more else ""
