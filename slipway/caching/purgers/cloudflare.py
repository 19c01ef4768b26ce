"""Cloudflare: URLs, tags or prefixes, one of these kinds and at most 100 of it a request.

Sources: Cloudflare's API reference, "Purge Cached Content" (`POST /zones/{zone_id}/purge_cache`), its page "Purge cache"
(limits: a token bucket by account, on the free plan five requests a minute for tags and prefixes) and "Rate limits"
(429 with Retry-After). `"success": true` means accepted. A purge is idempotent. The token needs "Cache Purge".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from slipway.caching.purgers.cdn import Cdn
from slipway.caching.purgers.purger import Target, words

FIELDS: dict[Target, str] = {"route": "files", "tag": "tags", "prefix": "prefixes"}


class Cloudflare(Cdn):
    """Only the zone's default cache key is matched: a page whose key has headers or cookies of its own stays."""

    api = "https://api.cloudflare.com/client/v4"
    abilities = frozenset({"route", "tag", "prefix"})
    batches: ClassVar[Mapping[Target, int]] = {"route": 100, "tag": 100, "prefix": 100}

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.access.token}"}

    def _purge(self, target: Target, values: Sequence[str], soft: bool) -> None:
        what = words(target, values)
        named = list(values) if target == "tag" else [self._page(value) for value in values]
        if target == "prefix":
            named = [page.partition("://")[2] for page in named]  # host and path, no scheme
        answer = self._send("POST", f"zones/{self.access.zone}/purge_cache", what, body={FIELDS[target]: named})
        self._see(self._told(answer, what).get("success") is True, what)
