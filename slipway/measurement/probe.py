"""The probe: open loop, latency from the due time, routes interleaved request by request.

The schedule is fixed before the first request. A slow response delays no other request, and the wait that it causes
counts as latency (coordinated omission). A request that the limit on requests in flight drops counts as an error.

Before the first sample the probe reads every route on the same schedule until its latency has stopped falling. The
warm-up opens the connections, fills the caches and lets the service reach its usual speed under the load of the window.
"""

from __future__ import annotations

import asyncio
import gc
import math
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from statistics import median

import uvloop

from slipway.config.service import Probe, Service
from slipway.core import cancellation
from slipway.core.frozen import ANONYMOUS, RouteAs
from slipway.measurement import warm_up as warming
from slipway.measurement.backoff import Backoff
from slipway.measurement.cache_class import cache_class
from slipway.measurement.connections import ConnectionPool, Response
from slipway.measurement.kernel_timer import KernelTimer
from slipway.measurement.samples import CacheClass, MeasuredWindow, Measurement, Sample
from slipway.measurement.sessions import check_status, open_pool, request_target, unreachable

LONGEST_WARM_UP_S = 60.0  # the length of the window is a second limit
Progress = Callable[[float], None]
Key = tuple[str, str, CacheClass]


def measure(service: Service, routes: Sequence[RouteAs], *, progress: Progress | None = None) -> MeasuredWindow:
    """Warm up, measure `routes` at the rate that the service allows, and return every sample.

    Raises SlipwayError if a sign-in fails or if the service does not answer the first request to each route.
    """
    distinct = tuple(dict.fromkeys(RouteAs(route=item.route, identity=item.identity) for item in routes))
    return uvloop.run(_measure(service, distinct, progress or _ignore_progress))


def _ignore_progress(share: float) -> None:
    """Ignore the progress."""


def window_seconds(probe: Probe, routes: int) -> float:
    """Return the length of a window in seconds: as configured, or longer if the rate limit of the service requires it."""
    return max(probe.seconds, probe.bursts * probe.requests * routes / probe.rate)


def expected_seconds(probe: Probe, routes: int) -> float:
    """Return the shortest duration of a measurement in seconds: the window and its shortest warm-up."""
    return window_seconds(probe, routes) * (1 + warming.BURSTS / probe.bursts)


async def _measure(service: Service, routes: Sequence[RouteAs], progress: Progress) -> MeasuredWindow:
    pools: dict[str, ConnectionPool] = {}
    try:
        for name in dict.fromkeys(item.identity for item in routes):
            pools[name] = await open_pool(service, service.identity(name))
        for item in routes:
            await _first_answer(pools[item.identity], service, item)
        with KernelTimer() as timer:
            window = _Window(service.probe, routes, pools, Backoff(), timer)
            began = time.perf_counter()
            unsettled = await window.warm_up()
            warm_up_s = round(time.perf_counter() - began, 1)
            started_at = datetime.now(UTC).isoformat(timespec="seconds")
            window = _Window(service.probe, routes, pools, window.backoff, timer)
            await window.run(progress)
    finally:
        for pool in pools.values():
            await pool.close()
    return window.result(started_at).model_copy(update={"warm_up_s": warm_up_s, "unsettled": unsettled})


async def _first_answer(pool: ConnectionPool, service: Service, item: RouteAs) -> None:
    try:
        check_status(service, item.route, (await pool.request(request_target(item.route))).status)
    except (OSError, TimeoutError) as error:
        raise unreachable(service, item.route, error) from None


class _Window:
    """One window in progress: the schedule, the requests in flight, and the samples so far."""

    def __init__(
        self,
        probe: Probe,
        routes: Sequence[RouteAs],
        pools: dict[str, ConnectionPool],
        backoff: Backoff,
        timer: KernelTimer,
    ) -> None:
        self.probe = probe
        self.routes = routes
        self.pools = pools
        self.targets = {item.route: request_target(item.route) for item in routes}
        self.seconds = window_seconds(probe, len(routes))
        self.samples: dict[Key, list[Sample]] = defaultdict(list)
        self.failed: dict[tuple[str, str], list[Sample]] = defaultdict(list)
        self.in_flight: set[asyncio.Future[Response]] = set()
        self.backoff = backoff
        self.timer = timer
        self.start = 0.0  # due time of the first request, by `perf_counter`; a pause moves it

    async def run(self, progress: Progress) -> None:
        """Send every request at its due time. Garbage collection is off, because its pauses would count as latency."""
        gc.collect()
        gc.disable()
        try:
            self.start = time.perf_counter() + 0.05
            for burst in range(self.probe.bursts):
                cancellation.check()
                progress(burst / self.probe.bursts)
                await self._send(burst)
            await self._drain()
            progress(1.0)
        finally:
            gc.enable()

    async def warm_up(self) -> tuple[str, ...]:
        """Send bursts until the latency of every route has settled. Return the routes that have not settled at the end."""
        self.start = time.perf_counter()
        longest = int(self.probe.bursts * min(1.0, LONGEST_WARM_UP_S / self.seconds))
        unsettled: tuple[str, ...] = ()
        for burst in range(max(longest, warming.BURSTS)):
            cancellation.check()
            await self._send(burst)
            unsettled = self._unsettled()
            if not unsettled:
                break
        await self._drain()
        return unsettled

    async def _send(self, burst: int) -> None:
        size = self.probe.requests * len(self.routes)
        gap = self.seconds / (self.probe.bursts * size)
        for number in range(burst * size, (burst + 1) * size):
            self.start += await self.backoff.pause()
            due = self.start + number * gap
            await self.timer.wait_until(due)
            self._launch(self.routes[number % len(self.routes)], burst, due, due - self.start)

    async def _drain(self) -> None:
        await asyncio.gather(*self.in_flight, return_exceptions=True)  # `_record` records each error

    def _unsettled(self) -> tuple[str, ...]:
        """Return the routes whose latency still falls, judged by the bursts whose responses have all arrived."""
        return tuple(
            f"{item.route} as {item.identity}" for item in self.routes if not warming.settled(self._medians(item))
        )

    def _medians(self, item: RouteAs) -> list[float]:
        bursts: defaultdict[int, list[Sample]] = defaultdict(list)
        key = (item.route, item.identity)
        for samples in [self.failed[key], *(more for (*name, _), more in self.samples.items() if tuple(name) == key)]:
            for sample in samples:
                bursts[sample.burst].append(sample)
        complete = [bursts[burst] for burst in sorted(bursts) if len(bursts[burst]) == self.probe.requests]
        sent = [[sample.latency_ms for sample in burst if sample.error != "dropped"] for burst in complete]
        return [median(latencies) if latencies else math.inf for latencies in sent]

    def _launch(self, item: RouteAs, burst: int, due: float, due_s: float) -> None:
        if len(self.in_flight) >= self.probe.in_flight:
            self._record_error(item, Sample(burst, round(due_s, 4), 0.0, "dropped"))
            return
        future = self.pools[item.identity].request(self.targets[item.route])
        self.in_flight.add(future)
        future.add_done_callback(partial(self._record, item, burst, due, due_s))

    def _record(self, item: RouteAs, burst: int, due: float, due_s: float, future: asyncio.Future[Response]) -> None:
        self.in_flight.discard(future)
        sample = partial(Sample, burst, round(due_s, 4))
        error = None if future.cancelled() else future.exception()
        if future.cancelled() or error is not None:
            waited = round((time.perf_counter() - due) * 1_000, 3)
            self._record_error(item, sample(waited, "timeout" if isinstance(error, TimeoutError) else "connection"))
            return
        response = future.result()
        self.backoff.record(response.status, response.headers.get("retry-after", ""), due)
        self.pools[item.identity].store_cookies(response.set_cookies)
        error_label = f"status {response.status}" if response.status >= 400 else ""
        completed = sample(round((response.arrived - due) * 1_000, 3), error_label)
        self.samples[item.route, item.identity, cache_class(response.headers)].append(completed)

    def _record_error(self, item: RouteAs, sample: Sample) -> None:
        self.failed[item.route, item.identity].append(sample)

    def result(self, started_at: str) -> MeasuredWindow:
        """Return all samples by route × identity × cache class; an error without a class gets the route's most common class."""
        for (route, identity), samples in self.failed.items():
            self.samples[route, identity, self._usual_class(route, identity)].extend(samples)
        return MeasuredWindow(
            started_at=started_at,
            seconds=round(self.seconds, 3),
            bursts=self.probe.bursts,
            requests=self.probe.requests,
            measurements=tuple(
                Measurement(route=route, identity=identity, cache=cache, samples=tuple(sorted(samples)))
                for (route, identity, cache), samples in sorted(self.samples.items())
            ),
        )

    def _usual_class(self, route: str, identity: str) -> CacheClass:
        counts: dict[CacheClass, int] = {
            cache: len(samples) for (r, i, cache), samples in self.samples.items() if (r, i) == (route, identity)
        }
        usual: CacheClass = "miss" if identity == ANONYMOUS else "pass"
        return max(counts, key=lambda cache: counts[cache], default=usual)
