"""Akamai: URLs or cache tags (`Edge-Cache-Tag`), many per request, deleted on the production network.

Sources: Akamai's Fast Purge API v3 (`POST /ccu/v3/delete/{url,tag}/production`, at most 50,000 bytes, answered by 201) and
its "Rate limiting" (token buckets per account; after a 429 wait five seconds). A purge is idempotent. Requests are signed
with EdgeGrid by Akamai's own package, the extra `akamai`; the API client needs access to the Fast Purge API.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import httpx

from slipway.caching.purgers.cdn import Cdn, extra_missing, silence_logger
from slipway.caching.purgers.purger import Access, Target, describe_targets


class Akamai(Cdn):
    """Akamai's `invalidate` is not a soft purge: it revalidates, and serves nothing stale while the origin answers."""

    api = ""
    abilities = frozenset({"route", "tag"})
    batches: ClassVar[Mapping[Target, int]] = {
        "route": 50,
        "tag": 300,
    }  # with the longest values, just under 50,000 bytes
    accepted = frozenset({201})
    wait_s = 5.0

    def _headers(self) -> dict[str, str]:
        return {}

    def _auth(self) -> httpx.Auth:
        return EdgeGrid(self.access)

    def _purge(self, target: Target, values: Sequence[str], soft: bool) -> None:
        description = describe_targets(target, values)
        kind, objects = ("tag", list(values)) if target == "tag" else ("url", [self._page(route) for route in values])
        response = self._send("POST", f"ccu/v3/delete/{kind}/production", description, body={"objects": objects})
        self._require_confirmed(self._read_json(response, description).get("httpStatus") == 201, description)


@dataclass(frozen=True)
class Unsigned:
    """A request in the form that Akamai's package expects."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes


class EdgeGrid(httpx.Auth):
    """Signs each request. A repeated request gets a new signature."""

    requires_request_body = True

    def __init__(self, access: Access) -> None:
        try:
            from akamai.edgegrid import edgegrid
        except ImportError:
            raise extra_missing("akamai", "edgegrid-python") from None
        silence_logger("akamai.edgegrid")
        self._edgegrid: Any = edgegrid
        credentials = access.credentials
        self._signer: Any = edgegrid.EdgeGridAuthHeaders(
            credentials["client_token"], access.token, credentials["access_token"]
        )

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the Authorization header."""
        unsigned = Unsigned(request.method, str(request.url), {"Host": request.headers["host"]}, request.content)
        request.headers["Authorization"] = self._signer.make_auth_header(
            unsigned, self._edgegrid.eg_timestamp(), self._edgegrid.new_nonce()
        )
        yield request
