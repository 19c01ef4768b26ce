"""Whether a shared cache answered, by the headers of one response. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from slipway.measurement.samples import CacheClass

# Varnish, nginx, Fastly and Cloudflare say HIT and MISS, Squid and Akamai put TCP_ before it. A page that was
# revalidated came from the cache, but only after the origin was asked: its time is that of a miss.
HIT_WORD = re.compile(r"(tcp_(mem_|ims_)?)?hit(?!-for-)|stale|updating")
MISS_WORD = re.compile(r"(tcp_)?(refresh_?)?(miss|hit(?!-for-))|expired|revalidated")


def cache_class(headers: Mapping[str, str]) -> CacheClass:
    """Whether a shared cache answered: hit, miss (asked the origin, may store) or pass (did not take part).

    Reads `Cache-Status` (RFC 9211: the last member is the cache nearest to the user), else the X-Cache and
    CF-Cache-Status that caches send by custom, and Bunny's CDN-Cache. Without any of them a response counts as passed;
    `Age` is no proof.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    if "cache-status" in lower:
        return _of_cache_status(lower["cache-status"])
    told = lower.get("x-cache") or lower.get("cf-cache-status") or lower.get("cdn-cache") or ""
    return _of_word(told.split(",")[-1].strip().lower())


def _of_cache_status(value: str) -> CacheClass:
    nearest = value.split(",")[-1].lower()
    if re.search(r";\s*hit(\s*(;|$)|=\?1)", nearest):
        return "hit"
    forwarded = re.search(r";\s*fwd=([a-z-]+)", nearest)
    return "pass" if forwarded is None or forwarded[1] in ("bypass", "method", "request") else "miss"


def _of_word(word: str) -> CacheClass:
    if HIT_WORD.match(word):
        return "hit"
    return "miss" if MISS_WORD.match(word) else "pass"
