"""CloudFront: paths, prefixes (`/p/*`) or tags (`#tag`), many per invalidation. The purge waits for the invalidation.

Sources: CloudFront's API reference, CreateInvalidation and GetInvalidation; its developer guide on the maximum of
invalidations in progress (3,000 paths, 15 with a wildcard, else 400 TooManyInvalidationsInProgress) and on cache tags
(the distribution needs a CacheTagConfig; no maximum of tags is documented). Requests with the same CallerReference and
paths are the same invalidation, so a repeated request has no second effect. botocore signs the requests (SigV4), the extra
`cloudfront`; the key needs cloudfront:CreateInvalidation and cloudfront:GetInvalidation. AWS charges per path.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Generator, Mapping, Sequence
from typing import Any, ClassVar
from xml.sax.saxutils import escape

import httpx

from slipway.caching.purgers.cdn import Cdn, extra_missing, silence_logger
from slipway.caching.purgers.purger import CHECK_ROUTE, Access, Target, describe_targets
from slipway.core import cancellation
from slipway.core.errors import Unavailable

VERSION = "2020-05-31"
REGION = "us-east-1"  # CloudFront is global; its requests are signed for this region
POLL_S = 2.0
COMPLETE_TIMEOUT_S = 900.0
LIMITS = ("TooManyInvalidationsInProgress", "Throttling")


class CloudFront(Cdn):
    """Waits until the invalidation is Completed. A path with a query matches only if the query is part of the cache key."""

    api = "https://cloudfront.amazonaws.com"
    abilities = frozenset({"route", "tag", "prefix"})
    batches: ClassVar[Mapping[Target, int]] = {"route": 3000, "tag": 15, "prefix": 15}
    accepted = frozenset({200, 201})
    wait_s = 20.0
    star_is_wildcard = True

    def check(self) -> None:
        """Invalidate a page that no site has, without waiting. AWS charges one path."""
        self._create("route", [CHECK_ROUTE])

    def _headers(self) -> dict[str, str]:
        return {"Content-Type": "text/xml"}

    def _auth(self) -> httpx.Auth:
        return SigV4(self.access)

    def _purge(self, target: Target, values: Sequence[str], soft: bool) -> None:
        description, response = describe_targets(target, values), self._create(target, values)
        address = f"{VERSION}/distribution/{self.access.zone}/invalidation/{self._field('Id', response, description)}"
        until = time.monotonic() + COMPLETE_TIMEOUT_S
        while self._field("Status", response, description) != "Completed":
            if time.monotonic() > until:
                raise Unavailable(
                    f"The invalidation of {description} is still in progress.",
                    expected=f"The invalidation completes within {COMPLETE_TIMEOUT_S:g} s.",
                )
            cancellation.wait(POLL_S)
            response = self._send("GET", address, description)

    def _create(self, target: Target, values: Sequence[str]) -> httpx.Response:
        paths = [f"#{value}" if target == "tag" else self._path(value) for value in values]
        items = "".join(f"<Path>{escape(path)}{'*' if target == 'prefix' else ''}</Path>" for path in paths)
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>'
            f'<InvalidationBatch xmlns="http://cloudfront.amazonaws.com/doc/{VERSION}/">'
            f"<Paths><Quantity>{len(paths)}</Quantity><Items>{items}</Items></Paths>"
            f"<CallerReference>slipway-{uuid.uuid4()}</CallerReference></InvalidationBatch>"
        )
        address = f"{VERSION}/distribution/{self.access.zone}/invalidation"
        return self._send("POST", address, describe_targets(target, values), body=body.encode())

    def _field(self, name: str, response: httpx.Response, description: str) -> str:
        match = re.search(rf"<{name}>([A-Za-z0-9]+)</{name}>", response.text)
        self._require_confirmed(match is not None, description)
        assert match is not None  # checked in the line before
        return match[1]

    def _is_rate_limited(self, response: httpx.Response) -> bool:
        limit_code = response.status_code == 400 and any(f"<Code>{code}</Code>" in response.text for code in LIMITS)
        return limit_code or super()._is_rate_limited(response)


class SigV4(httpx.Auth):
    """Signs each request. A repeated request gets a new signature."""

    requires_request_body = True

    def __init__(self, access: Access) -> None:
        try:
            from botocore import auth, awsrequest, credentials
        except ImportError:
            raise extra_missing("cloudfront", "botocore") from None
        silence_logger("botocore.auth")
        self._request: Any = awsrequest.AWSRequest
        own = access.credentials
        key = credentials.Credentials(own["access_key_id"], access.token, own.get("session_token"))
        self._signer: Any = auth.SigV4Auth(key, "cloudfront", REGION)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the Authorization and X-Amz-… headers."""
        unsigned = self._request(method=request.method, url=str(request.url), data=request.content)
        self._signer.add_auth(unsigned)
        request.headers.update(dict(unsigned.headers.items()))
        yield request
