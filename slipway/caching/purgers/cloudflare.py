"""Cloudflare: URLs, tags or prefixes; a request has one of these kinds, and at most 100 items.

Sources: Cloudflare's API reference, "Purge Cached Content" (`POST /zones/{zone_id}/purge_cache`), its page "Purge cache"
(limits: a token bucket per account, on the free plan five requests per minute for tags and prefixes) and "Rate limits"
(429 with Retry-After). `"success": true` means accepted. A purge is idempotent. The token needs "Cache Purge".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from slipway.caching.purgers.cdn import Cdn
from slipway.caching.purgers.purger import Target, describe_targets

FIELDS: dict[Target, str] = {"route": "files", "tag": "tags", "prefix": "prefixes"}


class Cloudflare(Cdn):
    """Matches only the zone's default cache key: pages whose key contains additional headers or cookies stay cached."""

    api = "https://api.cloudflare.com/client/v4"
    abilities = frozenset({"route", "tag", "prefix"})
    batches: ClassVar[Mapping[Target, int]] = {"route": 100, "tag": 100, "prefix": 100}

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.access.token}"}

    def _purge(self, target: Target, values: Sequence[str], soft: bool) -> None:
        description = describe_targets(target, values)
        items = list(values) if target == "tag" else [self._page(value) for value in values]
        if target == "prefix":
            items = [page.partition("://")[2] for page in items]  # host and path, no scheme
        response = self._send(
            "POST", f"zones/{self.access.zone}/purge_cache", description, body={FIELDS[target]: items}
        )
        self._require_confirmed(self._read_json(response, description).get("success") is True, description)
