"""Test waiting until a time: never too early, with and without Linux timers, while other tasks run."""

from __future__ import annotations

import asyncio
import os
import time
from types import SimpleNamespace

import pytest
import uvloop

from slipway.measurement.kernel_timer import KernelTimer


@pytest.fixture(params=["timers of Linux", "timers of the loop"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Select the Linux timers or the timers of the loop; on other systems both are the same."""
    if request.param == "timers of the loop":
        monkeypatch.setattr("slipway.measurement.kernel_timer.sys", SimpleNamespace(platform="another"))


@pytest.mark.parametrize("gap_s", [0.0, 0.0001, 0.002, 0.02])
def test_wait_never_ends_too_early(kind: None, gap_s: float) -> None:
    """A wait ends at its due time or later, and a past due time needs no wait."""

    async def wait() -> None:
        with KernelTimer() as timer:
            for _ in range(20):
                due = time.perf_counter() + gap_s
                await timer.wait_until(due)
                assert time.perf_counter() >= due
            await timer.wait_until(0.0)

    uvloop.run(wait())


def test_other_tasks_run_during_a_wait(kind: None) -> None:
    """A wait does not block the loop."""

    async def wait() -> int:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.001)

        ticking = asyncio.ensure_future(tick())
        with KernelTimer() as timer:
            await timer.wait_until(time.perf_counter() + 0.2)
        ticking.cancel()
        return ticks

    assert uvloop.run(wait()) > 1


def test_cancelled_wait_does_not_disturb_the_next(kind: None) -> None:
    """The timer of a cancelled wait does not disturb the next wait."""

    async def wait() -> None:
        with KernelTimer() as timer:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await timer.wait_until(time.perf_counter() + 600)
            due = time.perf_counter() + 0.02
            await timer.wait_until(due)
            assert time.perf_counter() >= due

    uvloop.run(wait())


def test_fallback_timer_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fallback timer of the loop ends the wait if the kernel timer is not read."""
    monkeypatch.setattr(KernelTimer, "_on_readable", lambda timer: os.read(timer._timer, 8))

    async def wait() -> None:
        with KernelTimer() as timer:
            for _ in range(3):
                due = time.perf_counter() + 0.02
                await timer.wait_until(due)
                assert time.perf_counter() >= due

    uvloop.run(wait())
