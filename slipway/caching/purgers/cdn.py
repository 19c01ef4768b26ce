"""What the CDNs have in common: an API elsewhere, a zone, and answers in JSON that only say that a purge was taken."""

from __future__ import annotations

import logging
from typing import ClassVar

import httpx

from slipway.caching.purgers.purger import Purger
from slipway.core.errors import InvalidInput, SlipwayError


class Cdn(Purger):
    """A purger whose cache is behind a provider's API. `api` is its documented address, "" where each account has one."""

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


def quiet(name: str) -> None:
    """Keep a library that signs requests from logging what it signs with, at whatever level others log."""
    logging.getLogger(name).setLevel(logging.WARNING)


def extra_missing(kind: str, package: str) -> InvalidInput:
    """What is said where the package of an optional kind is not installed."""
    return InvalidInput(
        f"A cache of kind {kind} needs the package {package}, which is not installed.",
        expected=f"Slipway installed with its extra: slipway[{kind}].",
    )
