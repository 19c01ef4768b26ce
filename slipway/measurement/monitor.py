"""Monitor a service while a step changes it, with a few requests per second, to record the latency that visitors saw.

No verdict depends on these samples, so the monitor never disturbs the step: errors are recorded and not raised.
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
from slipway.measurement.connections import ConnectionPool, Response
from slipway.measurement.monitor_summary import downsample
from slipway.measurement.samples import MonitorResult, MonitorSample
from slipway.measurement.sessions import open_pool, request_target

RATE = 5.0  # requests per second; a lower `rate` of the service applies instead
START_TIMEOUT_S = 5.0  # how long a step waits for the first request
POLL_EVERY_S = 0.1


@contextmanager
def monitoring(service: Service, routes: Sequence[RouteAs], step: str) -> Iterator[Callable[[], MonitorResult]]:
    """Request the routes in turn during the block. Yield a function that returns the result after the block."""
    monitor = _Monitor(service, routes)
    thread = Thread(target=monitor.run, name="watch", daemon=True)
    started_at, began = datetime.now(UTC), time.perf_counter()
    thread.start()
    monitor.started.wait(START_TIMEOUT_S)
    result = MonitorResult(step=step, started_at=started_at, seconds=0)
    try:
        yield lambda: result
    finally:
        seconds = time.perf_counter() - began
        monitor.stopped.set()
        thread.join(POLL_EVERY_S + service.probe.timeout_s)
        glimpses = downsample(
            [sample._replace(at_s=round(sample.at_s - began, 3)) for sample in tuple(monitor.samples)]
        )
        result = MonitorResult(
            step=step, started_at=started_at, seconds=round(seconds, 3), glimpses=glimpses, because=monitor.because
        )


class _Monitor:
    """The thread of the monitor; `at_s` of its samples is a time of `perf_counter`."""

    def __init__(self, service: Service, routes: Sequence[RouteAs]) -> None:
        self.service, self.routes = service, routes
        self.started, self.stopped = Event(), Event()
        self.samples: list[MonitorSample] = []
        self.because = ""

    def run(self) -> None:
        """Send requests until `stopped` is set or an error occurs."""
        try:
            asyncio.run(self._send_requests())
        except (SlipwayError, OSError, TimeoutError) as error:
            self.because = error.failed if isinstance(error, SlipwayError) else type(error).__name__
        finally:
            self.started.set()

    async def _send_requests(self) -> None:
        backoff, pending = Backoff(), set[asyncio.Future[Response]]()
        async with AsyncExitStack() as stack:
            pools: dict[str, ConnectionPool] = {}
            for name in dict.fromkeys(item.identity for item in self.routes):
                pools[name] = await open_pool(self.service, self.service.identity(name))
                stack.push_async_callback(pools[name].close)
            gap, due = 1 / min(RATE, self.service.probe.rate), time.perf_counter()
            number = 0
            while not self.stopped.is_set():
                item = self.routes[number % len(self.routes)]
                future = pools[item.identity].request(request_target(item.route))
                pending.add(future)
                future.add_done_callback(pending.discard)
                future.add_done_callback(partial(self._record, item, due, backoff))
                self.started.set()
                number, due = number + 1, due + gap + await backoff.pause()
                await self._until(due)
            await asyncio.gather(*pending, return_exceptions=True)

    async def _until(self, due: float) -> None:
        while (remaining := due - time.perf_counter()) > 0 and not self.stopped.is_set():
            await asyncio.sleep(min(remaining, POLL_EVERY_S))

    def _record(self, item: RouteAs, due: float, backoff: Backoff, future: asyncio.Future[Response]) -> None:
        error = None if future.cancelled() else future.exception()
        if future.cancelled() or error is not None:
            error_label = "timeout" if isinstance(error, TimeoutError) else "connection"
            latency_s = time.perf_counter() - due
        else:
            response = future.result()
            backoff.record(response.status, response.headers.get("retry-after", ""), due)
            error_label, latency_s = (
                f"status {response.status}" if response.status >= 400 else "",
                response.arrived - due,
            )
        self.samples.append(MonitorSample(due, item.route, item.identity, round(latency_s * 1_000, 3), error_label))
