"""The common part of the CDN purgers: a provider's API, a zone, and JSON answers that only confirm a purge."""

from __future__ import annotations

import logging
from typing import ClassVar

import httpx

from slipway.caching.purgers.purger import Purger
from slipway.core.errors import InvalidInput, SlipwayError


class Cdn(Purger):
    """A purger for a provider's API. `api` is its documented address, or "" if each account has its own address."""

    api: ClassVar[str]
    settles_s = 30.0

    def _read_json(self, response: httpx.Response, description: str) -> dict[str, object]:
        """Return the JSON object of a response. Raises SlipwayError for any other body, without quoting it."""
        try:
            body = response.json()
        except ValueError:
            body = None
        self._require_confirmed(isinstance(body, dict), description)
        return dict(body)

    def _require_confirmed(self, confirmed: bool, description: str) -> None:
        if not confirmed:
            raise SlipwayError(
                f"The cache's answer to a purge of {description} does not confirm the purge.",
                expected="The answer that the provider documents. Check the address of its API.",
                retry_is_safe=True,
            )


def silence_logger(name: str) -> None:
    """Keep a library that signs requests from logging its keys and signatures, at any log level of the process."""
    logging.getLogger(name).setLevel(logging.WARNING)


def extra_missing(kind: str, package: str) -> InvalidInput:
    """Return the error for a missing package of an optional kind of cache."""
    return InvalidInput(
        f"A cache of kind {kind} needs the package {package}, which is not installed.",
        expected=f"Slipway is installed with the extra: slipway[{kind}].",
    )
