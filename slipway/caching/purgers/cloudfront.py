"""CloudFront: paths, prefixes (`/p/*`) or tags (`#tag`), many an invalidation, which is then waited for.

Sources: CloudFront's API reference, CreateInvalidation and GetInvalidation; its developer guide on the maximum of
invalidations in progress (3,000 paths, 15 with a wildcard, else 400 TooManyInvalidationsInProgress) and on cache tags
(the distribution needs a CacheTagConfig; for a maximum of tags nothing is documented). The same CallerReference and paths
are the same invalidation, so a repeat of one request doubles nothing. Requests are signed (SigV4) by botocore, the extra
`cloudfront`; the key needs cloudfront:CreateInvalidation and cloudfront:GetInvalidation. AWS charges by the path.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Generator, Mapping, Sequence
from typing import Any, ClassVar
from xml.sax.saxutils import escape

import httpx

from slipway.caching.purgers.cdn import Cdn, extra_missing, quiet
from slipway.caching.purgers.purger import CHECK_ROUTE, Access, Target, words
from slipway.core import cancellation
from slipway.core.errors import Unavailable

VERSION = "2020-05-31"
REGION = "us-east-1"  # CloudFront is global and signed for this one
POLL_S = 2.0
COMPLETES_WITHIN_S = 900.0
LIMITS = ("TooManyInvalidationsInProgress", "Throttling")


class CloudFront(Cdn):
    """Waits until the invalidation is Completed. A path with a query is matched only if the query is part of the key."""

    api = "https://cloudfront.amazonaws.com"
    abilities = frozenset({"route", "tag", "prefix"})
    batches: ClassVar[Mapping[Target, int]] = {"route": 3000, "tag": 15, "prefix": 15}
    accepted = frozenset({200, 201})
    wait_s = 20.0
    star_is_wildcard = True

    def check(self) -> None:
        """Invalidate a page that no site has, which costs one path, and do not wait for it."""
        self._create("route", [CHECK_ROUTE])

    def _headers(self) -> dict[str, str]:
        return {"Content-Type": "text/xml"}

    def _auth(self) -> httpx.Auth:
        return SigV4(self.access)

    def _purge(self, target: Target, values: Sequence[str], soft: bool) -> None:
        what, answer = words(target, values), self._create(target, values)
        address = f"{VERSION}/distribution/{self.access.zone}/invalidation/{self._field('Id', answer, what)}"
        until = time.monotonic() + COMPLETES_WITHIN_S
        while self._field("Status", answer, what) != "Completed":
            if time.monotonic() > until:
                raise Unavailable(
                    f"The invalidation of {what} is still in progress.", expected=f"An end in {COMPLETES_WITHIN_S:g} s."
                )
            cancellation.wait(POLL_S)
            answer = self._send("GET", address, what)

    def _create(self, target: Target, values: Sequence[str]) -> httpx.Response:
        named = [f"#{value}" if target == "tag" else self._path(value) for value in values]
        items = "".join(f"<Path>{escape(path)}{'*' if target == 'prefix' else ''}</Path>" for path in named)
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>'
            f'<InvalidationBatch xmlns="http://cloudfront.amazonaws.com/doc/{VERSION}/">'
            f"<Paths><Quantity>{len(named)}</Quantity><Items>{items}</Items></Paths>"
            f"<CallerReference>slipway-{uuid.uuid4()}</CallerReference></InvalidationBatch>"
        )
        address = f"{VERSION}/distribution/{self.access.zone}/invalidation"
        return self._send("POST", address, words(target, values), body=body.encode())

    def _field(self, name: str, answer: httpx.Response, what: str) -> str:
        found = re.search(rf"<{name}>([A-Za-z0-9]+)</{name}>", answer.text)
        self._see(found is not None, what)
        assert found is not None  # just seen
        return found[1]

    def _limited(self, answer: httpx.Response) -> bool:
        told = answer.status_code == 400 and any(f"<Code>{code}</Code>" in answer.text for code in LIMITS)
        return told or super()._limited(answer)


class SigV4(httpx.Auth):
    """Signs each request, also each repeat, anew."""

    requires_request_body = True

    def __init__(self, access: Access) -> None:
        try:
            from botocore import auth, awsrequest, credentials
        except ImportError:
            raise extra_missing("cloudfront", "botocore") from None
        quiet("botocore.auth")
        self._request: Any = awsrequest.AWSRequest
        given = access.credentials
        key = credentials.Credentials(given["access_key_id"], access.token, given.get("session_token"))
        self._signer: Any = auth.SigV4Auth(key, "cloudfront", REGION)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the headers Authorization and X-Amz-…"""
        unsigned = self._request(method=request.method, url=str(request.url), data=request.content)
        self._signer.add_auth(unsigned)
        request.headers.update(dict(unsigned.headers.items()))
        yield request
