"""What the CDNs have in common: an API elsewhere, a zone, and answers in JSON that only say that a purge was taken."""

from __future__ import annotations

from typing import ClassVar

import httpx

from slipway.adapters.caches.purging import Purger
from slipway.errors import SlipwayError


class Cdn(Purger):
    """A purger whose cache is behind a provider's API. `api` is the provider's documented address."""

    api: ClassVar[str]
    settles_s = 30.0

    def _told(self, answer: httpx.Response, what: str) -> dict[str, object]:
        """The JSON object of an answer. Raises SlipwayError for anything else, without quoting it."""
        try:
            told = answer.json()
        except ValueError:
            told = None
        self._see(isinstance(told, dict), what)
        return dict(told)

    def _see(self, fine: bool, what: str) -> None:
        if not fine:
            raise SlipwayError(
                f"The cache's answer to a purge of {what} does not say that it was taken.",
                expected="The answer that the provider documents; check the address of its API.",
                retry_is_safe=True,
            )
