"""What every purger has in common: one request to the cache, and what its answers mean."""

from __future__ import annotations

from types import TracebackType
from typing import ClassVar, Self
from urllib.parse import urlsplit

import httpx

from slipway.errors import InvalidInput, SlipwayError, Unavailable

CHECK_ROUTE = "/.slipway-purge-check"  # no page of any service; purging it removes nothing
TIMEOUT_S = 10.0


class Purger:
    """Purges one cache. A purge is safe to repeat; its answer is no proof, so the caller reads afterwards."""

    tags_supported: ClassVar[bool] = False
    accepted: ClassVar[frozenset[int]] = frozenset({200})

    def __init__(self, *, url: str, host: str, token_header: str, token: str) -> None:
        # A purge for another Host answers 200 and removes nothing, so the host is that of the service.
        headers = {token_header: token, "Host": urlsplit(host).netloc, "User-Agent": "slipway"}
        self._client = httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT_S, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def check(self) -> None:
        """See that the cache accepts our purges without removing anything. Raises SlipwayError when it refuses."""
        self.purge_route(CHECK_ROUTE)

    def purge_route(self, route: str) -> None:
        """Remove one route from the cache. Raises SlipwayError when the cache refuses or is away."""
        raise NotImplementedError

    def purge_tag(self, tag: str) -> None:
        """Remove all that carries a tag (surrogate key). Raises InvalidInput where the cache has no tags."""
        raise InvalidInput(f"This cache cannot purge by tag ({tag}).", expected="Routes under [purge].")

    def _send(self, method: str, route: str, what: str, headers: dict[str, str] | None = None) -> httpx.Response:
        try:
            answer = self._client.request(method, route, headers=headers)
        except httpx.HTTPError as error:
            raise Unavailable(
                f"The cache does not answer a purge of {what}: {type(error).__name__}.",
                expected=f"An answer within {TIMEOUT_S:g} s.",
            ) from None
        if answer.status_code not in self.accepted:
            raise SlipwayError(
                f"The cache refused to purge {what}: it answered {answer.status_code}.",
                expected="Leave to purge; check the token, and the addresses that the cache allows.",
                retry_is_safe=True,
            )
        return answer
