"""Bunny: a URL, a tag (`CDN-Tag`) or a prefix, one per request.

Sources: bunny.net's API reference, "Purge URL" (`POST /purge?url=…`, a URL that ends with "/" or "*" is a wildcard unless
`exactPath` is set) and "Purge Cache" (`POST /pullzone/{id}/purgeCache` with `CacheTag`); "Purge Rate Limits" (token
buckets per account: exact 120 plus 5 per second, prefix 20 plus one per two seconds; then 429). A purge is idempotent.
"""

from __future__ import annotations

from collections.abc import Sequence

import httpx

from slipway.caching.purgers.cdn import Cdn
from slipway.caching.purgers.purger import Target, describe_targets


class Bunny(Cdn):
    """Purges a URL in every pull zone that has its host, a tag in the zone of the entry."""

    api = "https://api.bunny.net"
    abilities = frozenset({"route", "tag", "prefix"})
    accepted = frozenset({200, 204})
    star_is_wildcard = True

    def _headers(self) -> dict[str, str]:
        return {"AccessKey": self.access.token}

    def _purge(self, target: Target, values: Sequence[str], soft: bool) -> None:
        [value] = values
        description = describe_targets(target, values)
        if target == "tag":
            # Without a tag this request would empty the whole zone; `_require` has refused empty tags.
            self._send("POST", f"pullzone/{self.access.zone}/purgeCache", description, body={"CacheTag": value})
            return
        page = self._page(value)
        query = {"url": page + "*"} if target == "prefix" else {"url": page, "exactPath": "true"}
        self._send("POST", f"purge?{httpx.QueryParams(query)}", description)
