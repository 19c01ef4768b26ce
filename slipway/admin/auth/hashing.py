"""Hashing of passwords beside the requests: in threads, few at once, and not for everybody who asks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from slipway.core.errors import Unavailable

AT_ONCE, AT_MOST = 2, 32  # hashes computed side by side (64 MB each), and requests that have one or wait for one
T = TypeVar("T")


class Hashing:
    """The hashing of one process."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(AT_ONCE)
        self._wanted = 0

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` gives, in a thread. Raises Unavailable when too many wait already."""
        if self._wanted >= AT_MOST:
            raise Unavailable("Too many people sign in at once.", expected="A moment.")
        self._wanted += 1
        try:
            async with self._free:
                return await asyncio.to_thread(work)
        finally:
            self._wanted -= 1
