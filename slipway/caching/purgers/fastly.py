"""Fastly: one URL or up to 256 surrogate keys per request; both also as a soft purge.

Sources: Fastly's reference, "Purging" (`POST /purge/{cached_url}`, `POST /service/{service_id}/purge`,
`Fastly-Soft-Purge`) and "Rate limiting" (429 with `Fastly-RateLimit-Reset`, UTC epoch seconds). Fastly's guide to
surrogate keys asks for two seconds between two purges of one key. A purge is idempotent. The token needs `purge_select`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import ClassVar

import httpx

from slipway.caching.purgers.cdn import Cdn
from slipway.caching.purgers.purger import CHECK_TAG, Target, describe_targets


class Fastly(Cdn):
    """Fastly answers `{"status": "ok"}` to a URL, and one id per key to keys, even if nothing was stored."""

    api = "https://api.fastly.com"
    abilities = frozenset({"route", "tag", "soft-route", "soft-tag"})
    batches: ClassVar[Mapping[Target, int]] = {"tag": 256}
    apart_s = 2.0

    def check(self) -> None:
        """Purge a key that no page has. Unlike the purge of a URL, this always needs the token."""
        self.purge(tags=[CHECK_TAG])

    def _headers(self) -> dict[str, str]:
        return {"Fastly-Key": self.access.token, "Accept": "application/json"}

    def _purge(self, target: Target, values: Sequence[str], soft: bool) -> None:
        headers = {"Fastly-Soft-Purge": "1"} if soft else {}
        description = describe_targets(target, values)
        if target == "route":
            page = self._page(values[0]).partition("://")[2]
            body = self._read_json(self._send("POST", f"purge/{page}", description, headers=headers), description)
            self._require_confirmed(body.get("status") == "ok", description)
        else:
            address = f"service/{self.access.zone}/purge"
            response = self._send("POST", address, description, headers=headers, body={"surrogate_keys": list(values)})
            self._require_confirmed(set(self._read_json(response, description)) >= set(values), description)

    def _retry_after_s(self, response: httpx.Response) -> float:
        reset = response.headers.get("fastly-ratelimit-reset", "")
        return max(0.0, float(reset) - time.time()) if reset.isdecimal() else super()._retry_after_s(response)
