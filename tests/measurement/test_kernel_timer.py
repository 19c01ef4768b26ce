"""The wait for a moment: never too early, with and without the timers of Linux, while other tasks run."""

from __future__ import annotations

import asyncio
import os
import time
from types import SimpleNamespace

import pytest
import uvloop

from slipway.measurement.kernel_timer import Alarm


@pytest.fixture(params=["timers of Linux", "timers of the loop"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both kinds; where the system is not Linux, they are the same."""
    if request.param == "timers of the loop":
        monkeypatch.setattr("slipway.measurement.kernel_timer.sys", SimpleNamespace(platform="another"))


@pytest.mark.parametrize("gap_s", [0.0, 0.0001, 0.002, 0.02])
def test_it_is_never_too_early(kind: None, gap_s: float) -> None:
    """Each wait ends at its moment or later, and a moment that is past is not waited for."""

    async def wait() -> None:
        with Alarm() as alarm:
            for _ in range(20):
                due = time.perf_counter() + gap_s
                await alarm.until(due)
                assert time.perf_counter() >= due
            await alarm.until(0.0)

    uvloop.run(wait())


def test_other_tasks_run_in_the_meantime(kind: None) -> None:
    """A wait does not keep the loop."""

    async def wait() -> int:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.001)

        ticking = asyncio.ensure_future(tick())
        with Alarm() as alarm:
            await alarm.until(time.perf_counter() + 0.2)
        ticking.cancel()
        return ticks

    assert uvloop.run(wait()) > 1


def test_a_wait_that_is_cancelled(kind: None) -> None:
    """The next wait is not disturbed by the timer of the last one."""

    async def wait() -> None:
        with Alarm() as alarm:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await alarm.until(time.perf_counter() + 600)
            due = time.perf_counter() + 0.02
            await alarm.until(due)
            assert time.perf_counter() >= due

    uvloop.run(wait())


def test_a_timer_that_is_not_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait ends nevertheless, by the loop's own timer."""
    monkeypatch.setattr(Alarm, "_ring", lambda alarm: os.read(alarm._timer, 8))

    async def wait() -> None:
        with Alarm() as alarm:
            for _ in range(3):
                due = time.perf_counter() + 0.02
                await alarm.until(due)
                assert time.perf_counter() >= due

    uvloop.run(wait())
