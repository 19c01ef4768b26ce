"""nginx, in two ways; neither knows tags or prefixes. examples/shop/cache/nginx.conf answers both.

`nginx`: `GET /purge/<route>` at a location of its own, by the purge module or by njs.
`nginx-refresh`: without a module, the route is fetched anew through `proxy_cache_bypass` on a secret header, and what
the origin answers takes the place of what was stored. Source: ngx_http_proxy_module, `proxy_cache_bypass`.
"""

from __future__ import annotations

from collections.abc import Sequence

import httpx

from slipway.caching.purgers.purger import CHECK_ROUTE, Purger, Target, words
from slipway.core.errors import SlipwayError
from slipway.measurement.cache_class import cache_class


class Nginx(Purger):
    """Answers 404 when the key was not there: gone, or never stored. Reading tells which."""

    accepted = frozenset({200, 404})

    def _purge(self, target: Target, values: Sequence[str], soft: bool) -> None:
        self._send("GET", f"/purge{values[0]}", words(target, values))


class NginxRefresh(Purger):
    """Refreshes the variant that a client without cookies sees; a route that is not stored is stored by it.

    nginx keeps the old page when the origin's new answer may not be stored, and says nothing. So each refresh is
    followed by a plain read, which must not be a hit with other content than the origin just gave.
    """

    accepted = frozenset(set(range(200, 500)) - {401, 403, 407, 429})  # what the origin says to a reader
    refreshes = True

    def check(self) -> None:
        """Fetch a page that does not exist past the cache. Raises SlipwayError when the cache does not take the token."""
        self._refresh(CHECK_ROUTE)

    def _headers(self) -> dict[str, str]:
        return {name: value for name, value in super()._headers().items() if name != self.access.token_header}

    def _purge(self, target: Target, values: Sequence[str], soft: bool) -> None:
        [route] = values
        fresh = self._refresh(route)
        read = self._send("GET", route, route)
        same = (read.status_code, read.content) == (fresh.status_code, fresh.content)
        if cache_class(read.headers) == "hit" and not same:
            raise SlipwayError(
                f"The cache fetched {route} anew and still serves another answer than the origin's {fresh.status_code}.",
                expected="An answer that may be stored in place of the old one; only a removal helps otherwise.",
                retry_is_safe=True,
            )

    def _refresh(self, route: str) -> httpx.Response:
        answer = self._send("GET", route, route, headers={self.access.token_header: self.access.token})
        if answer.headers.get("x-refreshed") != "1":
            raise SlipwayError(
                f"The cache refused to refresh {route}: its answer has no `X-Refreshed: 1`.",
                expected="Leave to refresh; check the token, and the cache's `proxy_cache_bypass`.",
                retry_is_safe=True,
            )
        return answer
