"""The single-flight cache."""

from __future__ import annotations

import asyncio

from slipway.admin.single_flight import SingleFlight


class Source:
    """Returns the number of the request, once the test allows it."""

    def __init__(self) -> None:
        self.requests = 0
        self.may_answer = [asyncio.Event(), asyncio.Event()]

    async def request(self) -> int:
        number = self.requests
        self.requests += 1
        await self.may_answer[number].wait()
        return number


def test_concurrent_callers_share_a_request() -> None:
    """A caller gets the result of a running request instead of sending another one."""

    async def two() -> tuple[list[int], int]:
        source, cache = Source(), SingleFlight[int](60.0)
        source.may_answer[0].set()
        results = await asyncio.gather(cache.get("a", source.request), cache.get("a", source.request))
        return list(results), source.requests

    assert asyncio.run(two()) == ([0, 0], 1)


def test_forget_discards_a_running_request() -> None:
    """After `forget` the next caller sends a new request, and the late result of the first one is not cached."""

    async def forgotten() -> list[int]:
        source, cache = Source(), SingleFlight[int](60.0)
        first = asyncio.ensure_future(cache.get("a", source.request))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert source.requests == 1
        cache.forget("a")
        source.may_answer[1].set()
        second = await cache.get("a", source.request)
        source.may_answer[0].set()
        return [await first, second, await cache.get("a", source.request)]

    assert asyncio.run(forgotten()) == [0, 1, 1]
