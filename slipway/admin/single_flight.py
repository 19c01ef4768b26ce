"""One request for many askers: whoever asks while it is on its way gets its answer, and so does who asks shortly after."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Answers by their keys, each good for `fresh_s` seconds, at most `most` of them; with none kept, only shared."""

    def __init__(self, fresh_s: float, most: int = 500) -> None:
        self._fresh_s = fresh_s
        self._most = most
        self._kept: OrderedDict[Hashable, tuple[float, T]] = OrderedDict()
        self._running: dict[Hashable, asyncio.Future[T]] = {}

    async def get(self, key: Hashable, ask: Callable[[], Awaitable[T]]) -> T:
        """The answer to `ask`, its own or another's. Raises what `ask` raises; an error is kept for nobody."""
        kept = self._kept.get(key)
        if kept is not None and time.monotonic() - kept[0] < self._fresh_s:
            return kept[1]
        running = self._running.get(key)
        if running is None:
            running = asyncio.ensure_future(self._ask(key, ask))
            self._running[key] = running
            running.add_done_callback(_see)
        return await asyncio.shield(running)  # who goes away does not take the answer from the others

    def forget(self, key: Hashable) -> None:
        """Ask again for this key: an answer that is on its way now may be older than what the caller has just done."""
        self._kept.pop(key, None)
        self._running.pop(key, None)

    async def _ask(self, key: Hashable, ask: Callable[[], Awaitable[T]]) -> T:
        here = asyncio.current_task()
        try:
            found = await ask()
            if self._running.get(key) is here:
                self._kept[key] = (time.monotonic(), found)
                self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
            return found
        finally:
            if self._running.get(key) is here:
                del self._running[key]


def _see(done: asyncio.Future[T]) -> None:
    """Look at an error that nobody waited for; the next who asks meets it, or not."""
    if not done.cancelled():
        done.exception()
