"""Password hashing in threads, with limits on parallel hashes and on waiting requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from slipway.core.errors import Unavailable

PARALLEL, MAX_REQUESTS = 2, 32  # hashes computed in parallel (64 MB each); requests that hash or wait
T = TypeVar("T")


class Hashing:
    """The password hashing of one process."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(PARALLEL)
        self._requests = 0

    async def run(self, work: Callable[[], T]) -> T:
        """Run `work` in a thread and return its result. Raises `Unavailable` if too many requests already wait."""
        if self._requests >= MAX_REQUESTS:
            raise Unavailable(
                "Too many people are signing in at the same time.", expected="A new attempt in a few seconds."
            )
        self._requests += 1
        try:
            async with self._free:
                return await asyncio.to_thread(work)
        finally:
            self._requests -= 1
