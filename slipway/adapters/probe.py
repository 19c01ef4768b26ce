"""The probe: open loop, latency counted from the due time, routes interleaved request by request.

A schedule is fixed before the first request. A slow answer delays nobody else's request, and the wait that it
causes is counted (coordinated omission). What the cap on requests in flight drops is an error, never silence.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial

import uvloop

from slipway import interruption
from slipway.adapters.resting import Rests
from slipway.adapters.visiting import away, signed_wire, target, up
from slipway.adapters.wire import Answer, Wire
from slipway.measurement import CacheClass, MeasuredWindow, Measurement, Sample
from slipway.noun import ANONYMOUS, RouteAs
from slipway.rules.caching import cache_class
from slipway.service import Probe, Service

WARM_UP = 20  # requests a route before the first sample: connections, caches, the service's own warm-up
TIMER_GRAIN_S = 0.0015
Progress = Callable[[float], None]
Key = tuple[str, str, CacheClass]


def measure(service: Service, routes: Sequence[RouteAs], *, progress: Progress | None = None) -> MeasuredWindow:
    """Measure `routes`, as gently as the service's owner set it, and return every sample.

    Raises SlipwayError when a sign-in fails or the service does not answer the warm-up.
    """
    wanted = tuple(dict.fromkeys(RouteAs(route=item.route, identity=item.identity) for item in routes))
    return uvloop.run(_measure(service, wanted, progress or _untold))


def _untold(share: float) -> None:
    """Progress that nobody follows."""


def window_seconds(probe: Probe, routes: int) -> float:
    """The length of a window in seconds: as set, or longer where the owner's rate asks for it."""
    return max(probe.seconds, probe.bursts * probe.requests * routes / probe.rate)


async def _measure(service: Service, routes: Sequence[RouteAs], progress: Progress) -> MeasuredWindow:
    started_at = datetime.now(UTC).isoformat(timespec="seconds")
    wires: dict[str, Wire] = {}
    try:
        for name in dict.fromkeys(item.identity for item in routes):
            wires[name] = await signed_wire(service, service.identity(name))
        for item in routes:
            await _warm_up(wires[item.identity], service, item)
        window = _Window(service.probe, routes, wires)
        await window.run(progress)
    finally:
        for wire in wires.values():
            await wire.close()
    return window.result(started_at)


async def _warm_up(wire: Wire, service: Service, item: RouteAs) -> None:
    try:
        for _ in range(WARM_UP):
            up(service, item.route, (await wire.ask(target(item.route))).status)
    except (OSError, TimeoutError) as error:
        raise away(service, item.route, error) from None


async def _until(due: float) -> None:
    """Wait for a moment of `perf_counter` to some 20 µs. The event loop's timers have a grain of 1 ms, early or late."""
    rest = due - time.perf_counter()
    if rest > 2 * TIMER_GRAIN_S:
        await asyncio.sleep(rest - TIMER_GRAIN_S)
    while time.perf_counter() < due:
        await asyncio.sleep(0)


class _Window:
    """One window under way: the schedule, what is in flight, and the samples so far."""

    def __init__(self, probe: Probe, routes: Sequence[RouteAs], wires: dict[str, Wire]) -> None:
        self.probe = probe
        self.routes = routes
        self.wires = wires
        self.targets = {item.route: target(item.route) for item in routes}
        self.seconds = window_seconds(probe, len(routes))
        self.samples: dict[Key, list[Sample]] = defaultdict(list)
        self.failed: dict[tuple[str, str], list[Sample]] = defaultdict(list)
        self.in_flight: set[asyncio.Future[Answer]] = set()
        self.rests = Rests()

    async def run(self, progress: Progress) -> None:
        """Send every request when it is due; the garbage collector waits, as its pauses would be counted."""
        gc.collect()
        gc.disable()
        try:
            await self._send_all(progress)
        finally:
            gc.enable()

    async def _send_all(self, progress: Progress) -> None:
        total = self.probe.bursts * self.probe.requests * len(self.routes)
        gap = self.seconds / total
        start = time.perf_counter() + 0.05
        for number in range(total):
            start += await self.rests.taken()
            due = start + number * gap
            burst = number // (self.probe.requests * len(self.routes))
            item = self.routes[number % len(self.routes)]
            await _until(due)
            self._launch(item, burst, due, due - start)
            if number % (total // self.probe.bursts) == 0:
                interruption.check()
                progress(number / total)
        await asyncio.gather(*self.in_flight, return_exceptions=True)  # each is noted as an error by itself
        progress(1.0)

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
