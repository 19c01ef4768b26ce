"""The rests of a probe: a service that says that it is asked too much is left alone for a while."""

from __future__ import annotations

import asyncio
import logging
import time

from slipway.core import cancellation
from slipway.core.errors import Unavailable

TOO_MUCH = (429, 503)  # RFC 6585, section 4; RFC 9110, section 15.6.4
FIRST_S, LONGEST_S = 1.0, 30.0
MOST = 5  # rests in one window
logger = logging.getLogger("slipway.measure")


class Backoff:
    """What a window has heard of 429 and 503, and the rests that it takes for it.

    The schedule moves on by a rest, so that no request is late for it; the answers that asked for it stay in the samples,
    as errors. Answers to requests that were under way when a rest began ask for no other one.
    """

    def __init__(self) -> None:
        self._asked_s = 0.0
        self._rested = 0
        self._over = 0.0

    def hear(self, status: int, retry_after: str, due: float) -> None:
        """An answer to a request that was due at `due`; Retry-After counts in seconds (RFC 9110, section 10.2.3)."""
        if status in TOO_MUCH and due >= self._over:
            usual = min(LONGEST_S, FIRST_S * 2.0**self._rested)
            wanted = float(retry_after) if retry_after.isdigit() else usual
            self._asked_s = min(LONGEST_S, max(self._asked_s, wanted))

    async def taken(self) -> float:
        """Rest if somebody has asked for it; the seconds that it took. Raises Unavailable once there were too many."""
        if not self._asked_s:
            return 0.0
        if self._rested == MOST:
            raise Unavailable(
                f"The service has asked for a rest {MOST + 1} times in one measurement.",
                expected="A service that bears `rate` in [service.probe], or a lower rate.",
            )
        began, wanted, self._asked_s = time.perf_counter(), self._asked_s, 0.0
        logger.warning("the service asks for a rest: nothing is sent for %.0f s", wanted)
        while (left := began + wanted - time.perf_counter()) > 0:
            cancellation.check()
            await asyncio.sleep(min(left, cancellation.EVERY_S))
        self._rested += 1
        self._over = time.perf_counter()
        return self._over - began
