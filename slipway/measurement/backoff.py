"""Pause the probe while a service answers 429 or 503."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime

from slipway.core import cancellation
from slipway.core.errors import Unavailable
from slipway.core.retry_after import retry_after_s

BACKOFF_STATUSES = (429, 503)  # RFC 6585, section 4; RFC 9110, section 15.6.4
FIRST_S, LONGEST_S = 1.0, 30.0
MAX_PAUSES = 5  # in one measurement
logger = logging.getLogger("slipway.measure")


class Backoff:
    """Decide on pauses from the 429 and 503 responses of one measurement, and make these pauses.

    A pause shifts the rest of the schedule, so it makes no request late. The 429 and 503 responses stay in the samples as
    errors. Responses to requests that were sent before a pause ended do not cause another pause.
    """

    def __init__(self) -> None:
        self._pause_s = 0.0
        self._pauses = 0
        self._resumed_at = 0.0

    def record(self, status: int, retry_after: str, due: float) -> None:
        """Record the response to the request that was due at `due`; `retry_after` is its Retry-After header."""
        if status in BACKOFF_STATUSES and due >= self._resumed_at:
            default_s = min(LONGEST_S, FIRST_S * 2.0**self._pauses)
            asked_s = retry_after_s(retry_after, datetime.now(UTC))
            pause_s = default_s if asked_s is None else asked_s
            self._pause_s = min(LONGEST_S, max(self._pause_s, pause_s))

    async def pause(self) -> float:
        """Pause if a response asked for it and return the seconds paused. Raise Unavailable after too many pauses."""
        if not self._pause_s:
            return 0.0
        if self._pauses == MAX_PAUSES:
            raise Unavailable(
                f"The service answered 429 or 503 again after {MAX_PAUSES} pauses in one measurement.",
                expected="The service accepts `rate` under [service.probe] in slipway.toml. Set a lower rate if it does not.",
            )
        began, pause_s, self._pause_s = time.perf_counter(), self._pause_s, 0.0
        logger.warning("the service answered 429 or 503: no requests are sent for %.0f s", pause_s)
        while (remaining := began + pause_s - time.perf_counter()) > 0:
            cancellation.check()
            await asyncio.sleep(min(remaining, cancellation.EVERY_S))
        self._pauses += 1
        self._resumed_at = time.perf_counter()
        return self._resumed_at - began
