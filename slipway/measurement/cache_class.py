"""Derive from the headers of a response whether a shared cache answered. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from slipway.measurement.samples import CacheClass

# Varnish, nginx, Fastly and Cloudflare send HIT and MISS; Squid and Akamai send them with the prefix TCP_. A revalidated
# page comes from the cache, but the cache first sends a request to the origin: its latency is that of a miss.
HIT_WORD = re.compile(r"(tcp_(mem_|ims_)?)?hit(?!-for-)|stale|updating")
QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')  # a string of a structured field; it may contain commas and semicolons
MISS_WORD = re.compile(r"(tcp_)?(refresh_?)?(miss|hit(?!-for-))|expired|revalidated")


def cache_class(headers: Mapping[str, str]) -> CacheClass:
    """Return hit, miss (the cache asked the origin and may store the response) or pass (the cache did not take part).

    Reads `Cache-Status` (RFC 9211: the last member is the cache nearest to the user). Without it, reads the non-standard
    X-Cache, CF-Cache-Status and CDN-Cache (Bunny). Without any of them the class is pass. `Age` proves nothing.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    if "cache-status" in lower:
        return _of_cache_status(lower["cache-status"])
    value = lower.get("x-cache") or lower.get("cf-cache-status") or lower.get("cdn-cache") or ""
    return _of_word(value.split(",")[-1].strip().lower())


def _of_cache_status(value: str) -> CacheClass:
    """Read the parameters of the last member, whatever its name: some caches send names that the RFC does not allow."""
    nearest = QUOTED.sub('""', value).split(",")[-1].lower()
    if re.search(r";\s*hit(\s*(;|$)|=\?1)", nearest):
        return "hit"
    forwarded = re.search(r";\s*fwd=([a-z-]+)", nearest)
    return "pass" if forwarded is None or forwarded[1] in ("bypass", "method", "request") else "miss"


def _of_word(word: str) -> CacheClass:
    if HIT_WORD.match(word):
        return "hit"
    return "miss" if MISS_WORD.match(word) else "pass"
