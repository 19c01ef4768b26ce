"""Watch a service while a step changes it: a few requests a second, so that the record can tell what visitors met.

Nobody judges by it, so it never disturbs the step: what goes wrong here is told and not raised.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from threading import Event, Thread

from slipway.config.service import Service
from slipway.core.errors import SlipwayError
from slipway.core.frozen import RouteAs
from slipway.measurement.backoff import Backoff
from slipway.measurement.connections import Answer, ConnectionPool
from slipway.measurement.monitor_summary import thinned
from slipway.measurement.samples import MonitorResult, MonitorSample
from slipway.measurement.sessions import signed_wire, target

RATE = 5.0  # requests a second, or the owner's rate where that is less
BEGINS_WITHIN_S = 5.0  # a step waits no longer for the first request
LOOK_EVERY_S = 0.1


@contextmanager
def watching(service: Service, routes: Sequence[RouteAs], step: str) -> Iterator[Callable[[], MonitorResult]]:
    """Within the block the routes are asked for in turn; the function then tells what was seen."""
    watch = _Watch(service, routes)
    thread = Thread(target=watch.run, name="watch", daemon=True)
    started_at, began = datetime.now(UTC), time.perf_counter()
    thread.start()
    watch.begun.wait(BEGINS_WITHIN_S)
    found = MonitorResult(step=step, started_at=started_at, seconds=0)
    try:
        yield lambda: found
    finally:
        seconds = time.perf_counter() - began
        watch.over.set()
        thread.join(LOOK_EVERY_S + service.probe.timeout_s)
        glimpses = thinned([glimpse._replace(at_s=round(glimpse.at_s - began, 3)) for glimpse in tuple(watch.glimpses)])
        found = MonitorResult(
            step=step, started_at=started_at, seconds=round(seconds, 3), glimpses=glimpses, because=watch.because
        )


class _Watch:
    """The thread's side; `at_s` of its glimpses is of `perf_counter`."""

    def __init__(self, service: Service, routes: Sequence[RouteAs]) -> None:
        self.service, self.routes = service, routes
        self.begun, self.over = Event(), Event()
        self.glimpses: list[MonitorSample] = []
        self.because = ""

    def run(self) -> None:
        """Until it is over, or cannot go on."""
        try:
            asyncio.run(self._watch())
        except (SlipwayError, OSError, TimeoutError) as error:
            self.because = error.failed if isinstance(error, SlipwayError) else type(error).__name__
        finally:
            self.begun.set()

    async def _watch(self) -> None:
        rests, under_way = Backoff(), set[asyncio.Future[Answer]]()
        async with AsyncExitStack() as stack:
            wires: dict[str, ConnectionPool] = {}
            for name in dict.fromkeys(item.identity for item in self.routes):
                wires[name] = await signed_wire(self.service, self.service.identity(name))
                stack.push_async_callback(wires[name].close)
            gap, due = 1 / min(RATE, self.service.probe.rate), time.perf_counter()
            number = 0
            while not self.over.is_set():
                item = self.routes[number % len(self.routes)]
                answered = wires[item.identity].ask(target(item.route))
                under_way.add(answered)
                answered.add_done_callback(under_way.discard)
                answered.add_done_callback(partial(self._note, item, due, rests))
                self.begun.set()
                number, due = number + 1, due + gap + await rests.taken()
                await self._until(due)
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _until(self, due: float) -> None:
        while (rest := due - time.perf_counter()) > 0 and not self.over.is_set():
            await asyncio.sleep(min(rest, LOOK_EVERY_S))

    def _note(self, item: RouteAs, due: float, rests: Backoff, answered: asyncio.Future[Answer]) -> None:
        error = None if answered.cancelled() else answered.exception()
        if answered.cancelled() or error is not None:
            word = "timeout" if isinstance(error, TimeoutError) else "connection"
            took = time.perf_counter() - due
        else:
            answer = answered.result()
            rests.hear(answer.status, answer.headers.get("retry-after", ""), due)
            word, took = f"status {answer.status}" if answer.status >= 400 else "", answer.arrived - due
        self.glimpses.append(MonitorSample(due, item.route, item.identity, round(took * 1_000, 3), word))
