"""The common part of all purgers: their interface, their requests, and the meaning of a cache's answers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import ClassVar, Literal, Self
from urllib.parse import urlsplit

import httpx

from slipway.core import cancellation
from slipway.core.errors import InvalidInput, SlipwayError, Unavailable
from slipway.core.frozen import ROUTE, TAG
from slipway.core.retry_after import retry_after_s
from slipway.measurement.pages import trusted

Target = Literal["route", "tag", "prefix"]
Ability = Literal["route", "tag", "prefix", "soft-route", "soft-tag"]

CHECK_ROUTE = "/.slipway-purge-check"  # no page of any service; purging it removes nothing
CHECK_TAG = "slipway-purge-check"  # a tag of no page of any service
TIMEOUT_S = 10.0
MAX_WAITS = 3  # how often one request waits after a 429
LONGEST_WAIT_S = 60.0  # if the cache asks for a longer wait, the purge fails at once


@dataclass(frozen=True)
class Access:
    """The access to a cache: its own address, the public site, and the token, which is never shown."""

    url: str
    site: str
    token: str = field(repr=False)
    token_header: str
    zone: str  # a CDN's service, zone, pull zone or distribution
    credentials: Mapping[str, str] = field(repr=False)  # additional credentials of some CDNs


class Purger:
    """Purges one cache. A purge is safe to repeat. Its answer proves nothing, so the caller reads the pages afterwards.

    `abilities` are the kinds of purges that the cache supports, `batches` the most targets of a kind in one request
    (default 1). `apart_s` is the minimum time between two purges of a page for the second one to have an effect.
    `settles_s` is the longest time that a purge may take after its answer. `refreshes` means that the cache fetches a page
    again instead of removing it.
    """

    abilities: ClassVar[frozenset[Ability]] = frozenset({"route"})
    batches: ClassVar[Mapping[Target, int]] = {}
    accepted: ClassVar[frozenset[int]] = frozenset({200})
    apart_s: ClassVar[float] = 0.0
    settles_s: ClassVar[float] = 0.0
    refreshes: ClassVar[bool] = False
    wait_s: ClassVar[float] = 2.0  # if a 429 does not say how long to wait
    star_is_wildcard: ClassVar[bool] = False

    def __init__(self, access: Access) -> None:
        self.access = access
        self._client = httpx.Client(
            base_url=access.url,
            headers={"User-Agent": "slipway", **self._headers()},
            timeout=TIMEOUT_S,
            trust_env=False,
            auth=self._auth(),
            verify=trusted(),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def check(self) -> None:
        """Check that the cache accepts purges, without removing a page. Raises SlipwayError if the cache refuses."""
        self.purge(routes=[CHECK_ROUTE])

    def purge(
        self,
        *,
        routes: Iterable[str] = (),
        tags: Iterable[str] = (),
        prefixes: Iterable[str] = (),
        soft: bool = False,
    ) -> None:
        """Remove routes, pages with a tag, and pages whose path begins with a prefix. `soft` only marks the pages as stale.

        All targets are checked before the first request. Raises InvalidInput for a purge that this cache does not support,
        SlipwayError if the cache refuses, Unavailable if it does not answer or asks to wait too long. After an error some
        targets may be purged. It is safe to purge all of them again.
        """
        targets: dict[Target, list[str]] = {
            "route": list(dict.fromkeys(routes)),
            "tag": list(dict.fromkeys(tags)),
            "prefix": list(dict.fromkeys(prefixes)),
        }
        for target, values in targets.items():
            self._require(target, values, soft)
        for target, values in targets.items():
            for batch in _batches(values, self.batches.get(target, 1)):
                self._purge(target, batch, soft)

    def _headers(self) -> dict[str, str]:
        """Return the headers of each request, here for a self-hosted cache."""
        # A purge with another Host is answered with 200 and removes nothing, so Host is the service's host.
        return {self.access.token_header: self.access.token, "Host": urlsplit(self.access.site).netloc}

    def _auth(self) -> httpx.Auth | None:
        """Return the object that signs each request, or None if the API needs no signature."""
        return None

    def _purge(self, target: Target, values: Sequence[str], soft: bool) -> None:
        """Send one request for targets of one kind, at most one batch."""
        raise NotImplementedError

    def _require(self, target: Target, values: Sequence[str], soft: bool) -> None:
        if values and not {target, f"soft-{target}" if soft else target} <= self.abilities:
            raise InvalidInput(
                f"This cache cannot purge {'softly ' if soft else ''}by {target} ({values[0]}).",
                expected=f"One of the purges that the cache supports: {', '.join(sorted(self.abilities))}.",
            )
        for value in values:
            # Some caches take an empty tag for all pages, others take a tag with a space for two tags.
            if re.fullmatch(TAG if target == "tag" else ROUTE, value) is None:
                raise InvalidInput(
                    f"{value!r} is not a valid {target}.", expected="A path from the root, or a tag of a-z, 0-9 and -."
                )
            if self.star_is_wildcard and "*" in value:
                raise InvalidInput(f"For this cache the * in {value} is a wildcard.", expected="A prefix without *.")

    def _page(self, route: str) -> str:
        """Return the URL with which readers request a route, escaped as HTTP clients do."""
        return str(httpx.URL(self.access.site).join(route))

    def _path(self, route: str) -> str:
        """Return the path and query of that URL."""
        return httpx.URL(self._page(route)).raw_path.decode()

    def _send(
        self,
        method: str,
        address: str,
        description: str,
        *,
        headers: dict[str, str] | None = None,
        body: object | None = None,
    ) -> httpx.Response:
        """Send a request and return its response. Waits and retries after a 429, at most three times."""
        for waits in range(MAX_WAITS + 1):
            response = self._request(method, address, description, headers, body)
            if not self._is_rate_limited(response):
                return self._require_accepted(response, description)
            wait_s = self._retry_after_s(response)
            if waits == MAX_WAITS or wait_s > LONGEST_WAIT_S:
                break
            cancellation.wait(wait_s)
        raise Unavailable(
            f"The cache's rate limit refused the purge of {description}: it answered {response.status_code} and asks to wait "
            f"{wait_s:.0f} s.",
            expected=f"At most {MAX_WAITS} waits of at most {LONGEST_WAIT_S:g} s. Purge fewer pages at once, or retry later.",
        )

    def _request(
        self, method: str, address: str, description: str, headers: dict[str, str] | None, body: object | None
    ) -> httpx.Response:
        try:
            payload = {"content": body} if isinstance(body, bytes) else {"json": body}
            return self._client.request(method, address, headers=headers, **payload)
        except httpx.HTTPError as error:
            raise Unavailable(
                f"The cache does not answer a purge of {description}: {type(error).__name__}.",
                expected=f"The cache answers within {TIMEOUT_S:g} s.",
            ) from None

    def _require_accepted(self, response: httpx.Response, description: str) -> httpx.Response:
        if response.status_code in self.accepted:
            return response
        if response.status_code >= 500:
            raise Unavailable(
                f"The cache could not purge {description}: it answered {response.status_code}.",
                expected="The cache has no error.",
            )
        raise SlipwayError(
            f"The cache refused to purge {description}: it answered {response.status_code}.",
            expected="The cache allows the purge. Check the token and the client addresses that the cache allows.",
            retry_is_safe=True,
        )

    def _is_rate_limited(self, response: httpx.Response) -> bool:
        """Return whether the response reports a rate limit."""
        return response.status_code == 429

    def _retry_after_s(self, response: httpx.Response) -> float:
        """Return how long the response asks to wait, in seconds, or `wait_s` if it does not say."""
        asked_s = retry_after_s(response.headers.get("retry-after", ""), datetime.now(UTC))
        return self.wait_s if asked_s is None else asked_s


def describe_targets(target: Target, values: Sequence[str]) -> str:
    """Describe the targets of a request: "/a, /b", "tag menu", "prefix /p/". Names only the first three."""
    more = f" and {len(values) - 3} more" if len(values) > 3 else ""
    return f"{'' if target == 'route' else target + ' '}{', '.join(values[:3])}{more}"


def _batches(values: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]
