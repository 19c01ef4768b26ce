"""What every purger has in common: what it is asked, what it sends, and what the answers of a cache mean."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import ClassVar, Literal, Self
from urllib.parse import urlsplit

import httpx

from slipway.core import cancellation
from slipway.core.errors import InvalidInput, SlipwayError, Unavailable
from slipway.core.frozen import ROUTE, TAG
from slipway.measurement.pages import trusted

Target = Literal["route", "tag", "prefix"]
Ability = Literal["route", "tag", "prefix", "soft-route", "soft-tag"]

CHECK_ROUTE = "/.slipway-purge-check"  # no page of any service; purging it removes nothing
CHECK_TAG = "slipway-purge-check"  # carried by no page of any service
TIMEOUT_S = 10.0
WAITS = 3  # how often one request may be put off by 429
LONGEST_WAIT_S = 60.0  # who is asked to wait longer gives up at once and says so


@dataclass(frozen=True)
class Access:
    """How a cache is reached: its own address, the site that readers see, and the token, which is never shown."""

    url: str
    site: str
    token: str = field(repr=False)
    token_header: str
    zone: str  # what a CDN calls service, zone, pull zone or distribution
    credentials: Mapping[str, str] = field(repr=False)  # what stands beside the token at some CDNs


class Purger:
    """Purges one cache. A purge is safe to repeat; its answer is no proof, so the caller reads afterwards.

    `abilities` is what the cache can, `batches` how many targets of a kind one request may name (one, where nothing is
    said). `apart_s` is the least time between two purges of the same page for the second one to count; `settles_s` how
    long after its answer a purge may still be under way. `refreshes` says that a page is fetched anew instead of removed.
    """

    abilities: ClassVar[frozenset[Ability]] = frozenset({"route"})
    batches: ClassVar[Mapping[Target, int]] = {}
    accepted: ClassVar[frozenset[int]] = frozenset({200})
    apart_s: ClassVar[float] = 0.0
    settles_s: ClassVar[float] = 0.0
    refreshes: ClassVar[bool] = False
    wait_s: ClassVar[float] = 2.0  # where a limit does not say how long
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
        """See that the cache accepts our purges without removing anything. Raises SlipwayError when it refuses."""
        self.purge(routes=[CHECK_ROUTE])

    def purge(
        self,
        *,
        routes: Iterable[str] = (),
        tags: Iterable[str] = (),
        prefixes: Iterable[str] = (),
        soft: bool = False,
    ) -> None:
        """Remove routes, all that carries a tag, and all whose path begins with a prefix; `soft` only makes it stale.

        Everything is looked at before anything is sent. Raises InvalidInput for what this cache cannot do, SlipwayError
        when it refuses, Unavailable when it is away or asks for more patience than is reasonable. After an error some
        of it may be purged; purging all of it again is safe.
        """
        asked: dict[Target, list[str]] = {
            "route": list(dict.fromkeys(routes)),
            "tag": list(dict.fromkeys(tags)),
            "prefix": list(dict.fromkeys(prefixes)),
        }
        for target, values in asked.items():
            self._require(target, values, soft)
        for target, values in asked.items():
            for batch in _batches(values, self.batches.get(target, 1)):
                self._purge(target, batch, soft)

    def _headers(self) -> dict[str, str]:
        """The headers of each request: here those of a cache of one's own."""
        # A purge for another Host answers 200 and removes nothing, so the host is that of the service.
        return {self.access.token_header: self.access.token, "Host": urlsplit(self.access.site).netloc}

    def _auth(self) -> httpx.Auth | None:
        """What signs each request, for an API that wants that."""
        return None

    def _purge(self, target: Target, values: Sequence[str], soft: bool) -> None:
        """Send one request for targets of one kind, at most as many as a batch may have."""
        raise NotImplementedError

    def _require(self, target: Target, values: Sequence[str], soft: bool) -> None:
        if values and not {target, f"soft-{target}" if soft else target} <= self.abilities:
            raise InvalidInput(
                f"This cache cannot purge {'softly ' if soft else ''}by {target} ({values[0]}).",
                expected=f"What it can: {', '.join(sorted(self.abilities))}.",
            )
        for value in values:
            # An empty tag would be everything to some caches, and a tag with a space two to others.
            if re.fullmatch(TAG if target == "tag" else ROUTE, value) is None:
                raise InvalidInput(
                    f"{value!r} is no {target}.", expected="A path from the root, or a tag of a-z, 0-9 and -."
                )
            if self.star_is_wildcard and "*" in value:
                raise InvalidInput(f"To this cache the * in {value} is a wildcard.", expected="A prefix, without *.")

    def _page(self, route: str) -> str:
        """The URL under which readers ask for a route, escaped as their clients do."""
        return str(httpx.URL(self.access.site).join(route))

    def _path(self, route: str) -> str:
        """Path and query of that URL."""
        return httpx.URL(self._page(route)).raw_path.decode()

    def _send(
        self,
        method: str,
        address: str,
        what: str,
        *,
        headers: dict[str, str] | None = None,
        body: object | None = None,
    ) -> httpx.Response:
        """One request, put off a few times when the cache says 429; the answer is one that it accepts."""
        for waits in range(WAITS + 1):
            answer = self._request(method, address, what, headers, body)
            if not self._limited(answer):
                return self._accepted(answer, what)
            wait_s = self._asks_to_wait_s(answer)
            if waits == WAITS or wait_s > LONGEST_WAIT_S:
                break
            cancellation.wait(wait_s)
        raise Unavailable(
            f"The cache limits purges and did not take that of {what}: it answered {answer.status_code} and asks to wait "
            f"{wait_s:.0f} s.",
            expected=f"At most {WAITS} waits of at most {LONGEST_WAIT_S:g} s; purge less at once, or later.",
        )

    def _request(
        self, method: str, address: str, what: str, headers: dict[str, str] | None, body: object | None
    ) -> httpx.Response:
        try:
            sent = {"content": body} if isinstance(body, bytes) else {"json": body}
            return self._client.request(method, address, headers=headers, **sent)
        except httpx.HTTPError as error:
            raise Unavailable(
                f"The cache does not answer a purge of {what}: {type(error).__name__}.",
                expected=f"An answer within {TIMEOUT_S:g} s.",
            ) from None

    def _accepted(self, answer: httpx.Response, what: str) -> httpx.Response:
        if answer.status_code in self.accepted:
            return answer
        if answer.status_code >= 500:
            raise Unavailable(
                f"The cache could not purge {what}: it answered {answer.status_code}.", expected="A cache that is well."
            )
        raise SlipwayError(
            f"The cache refused to purge {what}: it answered {answer.status_code}.",
            expected="Leave to purge; check the token, and the addresses that the cache allows.",
            retry_is_safe=True,
        )

    def _limited(self, answer: httpx.Response) -> bool:
        """Whether an answer puts us off."""
        return answer.status_code == 429

    def _asks_to_wait_s(self, answer: httpx.Response) -> float:
        """Retry-After, in seconds or as a date (RFC 9110, section 10.2.3)."""
        told = answer.headers.get("retry-after", "").strip()
        if told.isdecimal():
            return float(told)
        try:
            moment = parsedate_to_datetime(told)
        except ValueError:
            return self.wait_s
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def words(target: Target, values: Sequence[str]) -> str:
    """What a request names, for a person: "/a, /b", "tag menu", "prefix /p/"; of many only the first three."""
    more = f" and {len(values) - 3} more" if len(values) > 3 else ""
    return f"{'' if target == 'route' else target + ' '}{', '.join(values[:3])}{more}"


def _batches(values: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]
