"""One request for many askers."""

from __future__ import annotations

import asyncio

from slipway.admin.single_flight import SingleFlight


class Source:
    """Answers with the number of the question, once the test lets it."""

    def __init__(self) -> None:
        self.asked = 0
        self.may_answer = [asyncio.Event(), asyncio.Event()]

    async def ask(self) -> int:
        number = self.asked
        self.asked += 1
        await self.may_answer[number].wait()
        return number


def test_an_answer_is_shared() -> None:
    """Who asks while a question is on its way gets its answer."""

    async def two() -> tuple[list[int], int]:
        source, once = Source(), SingleFlight[int](60.0)
        source.may_answer[0].set()
        return list(await asyncio.gather(once.get("a", source.ask), once.get("a", source.ask))), source.asked

    assert asyncio.run(two()) == ([0, 0], 1)


def test_an_answer_on_its_way_is_forgotten() -> None:
    """After `forget` the question is asked again, and the late answer to the first one is not kept."""

    async def forgotten() -> list[int]:
        source, once = Source(), SingleFlight[int](60.0)
        first = asyncio.ensure_future(once.get("a", source.ask))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert source.asked == 1
        once.forget("a")
        source.may_answer[1].set()
        second = await once.get("a", source.ask)
        source.may_answer[0].set()
        return [await first, second, await once.get("a", source.ask)]

    assert asyncio.run(forgotten()) == [0, 1, 1]
