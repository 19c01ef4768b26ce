"""The probe: open loop, latency counted from the due time, routes interleaved request by request.

A schedule is fixed before the first request. A slow answer delays nobody else's request, and the wait that it
causes is counted (coordinated omission). What the cap on requests in flight drops is an error, never silence.

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
from slipway.measurement.connections import Answer, ConnectionPool
from slipway.measurement.kernel_timer import Alarm
from slipway.measurement.samples import CacheClass, MeasuredWindow, Measurement, Sample
from slipway.measurement.sessions import away, signed_wire, target, up

LONGEST_WARM_UP_S = 60.0  # or as long as the window itself, where that is shorter
Progress = Callable[[float], None]
Key = tuple[str, str, CacheClass]


def measure(service: Service, routes: Sequence[RouteAs], *, progress: Progress | None = None) -> MeasuredWindow:
    """Warm up, measure `routes`, as gently as the service's owner set it, and return every sample.

    Raises SlipwayError when a sign-in fails or the service does not answer the first request to each route.
    """
    wanted = tuple(dict.fromkeys(RouteAs(route=item.route, identity=item.identity) for item in routes))
    return uvloop.run(_measure(service, wanted, progress or _untold))


def _untold(share: float) -> None:
    """Progress that nobody follows."""


def window_seconds(probe: Probe, routes: int) -> float:
    """The length of a window in seconds: as set, or longer where the owner's rate asks for it."""
    return max(probe.seconds, probe.bursts * probe.requests * routes / probe.rate)


def expected_seconds(probe: Probe, routes: int) -> float:
    """The shortest time that a measurement takes, in seconds: the window after its shortest warm-up."""
    return window_seconds(probe, routes) * (1 + warming.BURSTS / probe.bursts)


async def _measure(service: Service, routes: Sequence[RouteAs], progress: Progress) -> MeasuredWindow:
    wires: dict[str, ConnectionPool] = {}
    try:
        for name in dict.fromkeys(item.identity for item in routes):
            wires[name] = await signed_wire(service, service.identity(name))
        for item in routes:
            await _first_answer(wires[item.identity], service, item)
        with Alarm() as alarm:
            window = _Window(service.probe, routes, wires, Backoff(), alarm)
            began = time.perf_counter()
            unsettled = await window.warm_up()
            warm_up_s = round(time.perf_counter() - began, 1)
            started_at = datetime.now(UTC).isoformat(timespec="seconds")
            window = _Window(service.probe, routes, wires, window.rests, alarm)
            await window.run(progress)
    finally:
        for wire in wires.values():
            await wire.close()
    return window.result(started_at).model_copy(update={"warm_up_s": warm_up_s, "unsettled": unsettled})


async def _first_answer(wire: ConnectionPool, service: Service, item: RouteAs) -> None:
    try:
        up(service, item.route, (await wire.ask(target(item.route))).status)
    except (OSError, TimeoutError) as error:
        raise away(service, item.route, error) from None


class _Window:
    """One window under way: the schedule, what is in flight, and the samples so far."""

    def __init__(
        self, probe: Probe, routes: Sequence[RouteAs], wires: dict[str, ConnectionPool], rests: Backoff, alarm: Alarm
    ) -> None:
        self.probe = probe
        self.routes = routes
        self.wires = wires
        self.targets = {item.route: target(item.route) for item in routes}
        self.seconds = window_seconds(probe, len(routes))
        self.samples: dict[Key, list[Sample]] = defaultdict(list)
        self.failed: dict[tuple[str, str], list[Sample]] = defaultdict(list)
        self.in_flight: set[asyncio.Future[Answer]] = set()
        self.rests = rests
        self.alarm = alarm
        self.start = 0.0  # when the first request was due, by `perf_counter`; a rest moves it

    async def run(self, progress: Progress) -> None:
        """Send every request when it is due; the garbage collector waits, as its pauses would be counted."""
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
        """Send bursts until the latency of every route has settled; return the routes whose latency still fell at the end."""
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
            self.start += await self.rests.taken()
            due = self.start + number * gap
            await self.alarm.until(due)
            self._launch(self.routes[number % len(self.routes)], burst, due, due - self.start)

    async def _drain(self) -> None:
        await asyncio.gather(*self.in_flight, return_exceptions=True)  # each is noted as an error by itself

    def _unsettled(self) -> tuple[str, ...]:
        """The routes whose latency still falls, by the bursts of which every answer has arrived."""
        return tuple(
            f"{item.route} as {item.identity}" for item in self.routes if not warming.settled(self._medians(item))
        )

    def _medians(self, item: RouteAs) -> list[float]:
        bursts: defaultdict[int, list[Sample]] = defaultdict(list)
        key = (item.route, item.identity)
        for samples in [self.failed[key], *(found for (*name, _), found in self.samples.items() if tuple(name) == key)]:
            for sample in samples:
                bursts[sample.burst].append(sample)
        whole = [bursts[burst] for burst in sorted(bursts) if len(bursts[burst]) == self.probe.requests]
        sent = [[sample.latency_ms for sample in burst if sample.error != "dropped"] for burst in whole]
        return [median(latencies) if latencies else math.inf for latencies in sent]

    def _launch(self, item: RouteAs, burst: int, due: float, due_s: float) -> None:
        if len(self.in_flight) >= self.probe.in_flight:
            self._fail(item, Sample(burst, round(due_s, 4), 0.0, "dropped"))
            return
        answered = self.wires[item.identity].ask(self.targets[item.route])
        self.in_flight.add(answered)
        answered.add_done_callback(partial(self._note, item, burst, due, due_s))

    def _note(self, item: RouteAs, burst: int, due: float, due_s: float, answered: asyncio.Future[Answer]) -> None:
        self.in_flight.discard(answered)
        sample = partial(Sample, burst, round(due_s, 4))
        error = None if answered.cancelled() else answered.exception()
        if answered.cancelled() or error is not None:
            waited = round((time.perf_counter() - due) * 1_000, 3)
            self._fail(item, sample(waited, "timeout" if isinstance(error, TimeoutError) else "connection"))
            return
        answer = answered.result()
        self.rests.hear(answer.status, answer.headers.get("retry-after", ""), due)
        self.wires[item.identity].keep(answer.set_cookies)
        told = f"status {answer.status}" if answer.status >= 400 else ""
        found = sample(round((answer.arrived - due) * 1_000, 3), told)
        self.samples[item.route, item.identity, cache_class(answer.headers)].append(found)

    def _fail(self, item: RouteAs, sample: Sample) -> None:
        self.failed[item.route, item.identity].append(sample)

    def result(self, started_at: str) -> MeasuredWindow:
        """All samples by route × identity × cache class; what has no class counts towards the route's usual one."""
        for (route, identity), samples in self.failed.items():
            self.samples[route, identity, self._usual_class(route, identity)].extend(samples)
        return MeasuredWindow(
            started_at=started_at,
            seconds=round(self.seconds, 3),
            bursts=self.probe.bursts,
            requests=self.probe.requests,
            measurements=tuple(
                Measurement(route=route, identity=identity, cache=found, samples=tuple(sorted(samples)))
                for (route, identity, found), samples in sorted(self.samples.items())
            ),
        )

    def _usual_class(self, route: str, identity: str) -> CacheClass:
        counts: dict[CacheClass, int] = {
            found: len(samples) for (r, i, found), samples in self.samples.items() if (r, i) == (route, identity)
        }
        usual: CacheClass = "miss" if identity == ANONYMOUS else "pass"
        return max(counts, key=lambda found: counts[found], default=usual)
