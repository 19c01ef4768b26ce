"""nginx, in two ways, both without tags and prefixes. examples/shop/cache/nginx.conf supports both.

`nginx`: `GET /purge/<route>` at a separate location, with the purge module or njs.
`nginx-refresh`: works without a module. A secret header triggers `proxy_cache_bypass`: nginx fetches the route again, and
the origin's answer replaces the stored page. Source: ngx_http_proxy_module, `proxy_cache_bypass`.
"""

from __future__ import annotations

from collections.abc import Sequence

import httpx

from slipway.caching.purgers.purger import CHECK_ROUTE, Purger, Target, describe_targets
from slipway.core.errors import SlipwayError
from slipway.measurement.cache_class import cache_class


class Nginx(Purger):
    """Answers 404 if the key is not in the cache. Only reading shows whether the page is purged."""

    accepted = frozenset({200, 404})

    def _purge(self, target: Target, values: Sequence[str], soft: bool) -> None:
        self._send("GET", f"/purge{values[0]}", describe_targets(target, values))


class NginxRefresh(Purger):
    """Refreshes the variant for clients without cookies. A route that was not stored is stored by the refresh.

    If the origin's new answer may not be stored, nginx keeps the old page without an error. So the purger reads the page
    after each refresh. A hit must have the same content as the origin's answer.
    """

    accepted = frozenset(set(range(200, 500)) - {401, 403, 407, 429})  # the origin's possible answers to a reader
    refreshes = True

    def check(self) -> None:
        """Refresh a page that does not exist. Raises SlipwayError if the cache does not accept the token."""
        self._refresh(CHECK_ROUTE)

    def _headers(self) -> dict[str, str]:
        return {name: value for name, value in super()._headers().items() if name != self.access.token_header}

    def _purge(self, target: Target, values: Sequence[str], soft: bool) -> None:
        [route] = values
        origin_answer = self._refresh(route)
        cached = self._send("GET", route, route)
        same = (cached.status_code, cached.content) == (origin_answer.status_code, origin_answer.content)
        if cache_class(cached.headers) == "hit" and not same:
            raise SlipwayError(
                f"The cache fetched {route} again, but still serves a page that differs from the origin's answer "
                f"({origin_answer.status_code}).",
                expected="The origin's answer may be stored. Otherwise remove the page from the cache by hand.",
                retry_is_safe=True,
            )

    def _refresh(self, route: str) -> httpx.Response:
        response = self._send("GET", route, route, headers={self.access.token_header: self.access.token})
        if response.headers.get("x-refreshed") != "1":
            raise SlipwayError(
                f"The cache refused to refresh {route}: its answer has no `X-Refreshed: 1`.",
                expected="The cache allows the refresh. Check the token and the cache's `proxy_cache_bypass`.",
                retry_is_safe=True,
            )
        return response
