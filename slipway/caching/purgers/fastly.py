"""Fastly: a URL by its address, up to 256 surrogate keys a request, each also softly.

Sources: Fastly's reference, "Purging" (`POST /purge/{cached_url}`, `POST /service/{service_id}/purge`,
`Fastly-Soft-Purge`) and "Rate limiting" (429 with `Fastly-RateLimit-Reset`, UTC epoch seconds); its guide to surrogate
keys asks for two seconds between two purges of one key. A purge is idempotent. The token needs `purge_select`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import ClassVar

import httpx

from slipway.caching.purgers.cdn import Cdn
from slipway.caching.purgers.purger import CHECK_TAG, Target, words


class Fastly(Cdn):
    """Answers `{"status": "ok"}` to a URL, and an id for each key to keys, whether or not anything was stored."""

    api = "https://api.fastly.com"
    abilities = frozenset({"route", "tag", "soft-route", "soft-tag"})
    batches: ClassVar[Mapping[Target, int]] = {"tag": 256}
    apart_s = 2.0

    def check(self) -> None:
        """Purge a key that no page carries: unlike a URL's, such a purge always needs the token."""
        self.purge(tags=[CHECK_TAG])

    def _headers(self) -> dict[str, str]:
        return {"Fastly-Key": self.access.token, "Accept": "application/json"}

    def _purge(self, target: Target, values: Sequence[str], soft: bool) -> None:
        headers = {"Fastly-Soft-Purge": "1"} if soft else {}
        what = words(target, values)
        if target == "route":
            page = self._page(values[0]).partition("://")[2]
            told = self._told(self._send("POST", f"purge/{page}", what, headers=headers), what)
            self._see(told.get("status") == "ok", what)
        else:
            address = f"service/{self.access.zone}/purge"
            answer = self._send("POST", address, what, headers=headers, body={"surrogate_keys": list(values)})
            self._see(set(self._told(answer, what)) >= set(values), what)

    def _asks_to_wait_s(self, answer: httpx.Response) -> float:
        reset = answer.headers.get("fastly-ratelimit-reset", "")
        return max(0.0, float(reset) - time.time()) if reset.isdecimal() else super()._asks_to_wait_s(answer)
