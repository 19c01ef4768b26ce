"""A single-flight cache: concurrent callers share one request, and later callers get its result while it is fresh."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """At most `max_results` results by key, fresh for `fresh_s` seconds. With 0 results, requests are only shared."""

    def __init__(self, fresh_s: float, max_results: int = 500) -> None:
        self._fresh_s = fresh_s
        self._max_results = max_results
        self._results: OrderedDict[Hashable, tuple[float, T]] = OrderedDict()
        self._running: dict[Hashable, asyncio.Future[T]] = {}

    async def get(self, key: Hashable, request: Callable[[], Awaitable[T]]) -> T:
        """Return a cached result, or that of a running or new request. Raises its errors, which are never cached."""
        cached = self._results.get(key)
        if cached is not None and time.monotonic() - cached[0] < self._fresh_s:
            return cached[1]
        running = self._running.get(key)
        if running is None:
            running = asyncio.ensure_future(self._request(key, request))
            self._running[key] = running
            running.add_done_callback(_retrieve_exception)
        return await asyncio.shield(running)  # cancelling one caller does not cancel the request of the others

    def forget(self, key: Hashable) -> None:
        """Discard the result and the running request of a key: both may predate an action of the caller."""
        self._results.pop(key, None)
        self._running.pop(key, None)

    async def _request(self, key: Hashable, request: Callable[[], Awaitable[T]]) -> T:
        task = asyncio.current_task()
        try:
            result = await request()
            if self._running.get(key) is task:
                self._results[key] = (time.monotonic(), result)
                self._results.move_to_end(key)
            while len(self._results) > self._max_results:
                self._results.popitem(last=False)
            return result
        finally:
            if self._running.get(key) is task:
                del self._running[key]


def _retrieve_exception(done: asyncio.Future[T]) -> None:
    """Mark the error of an abandoned request as retrieved, so that asyncio does not log it; the next caller retries."""
    if not done.cancelled():
        done.exception()
