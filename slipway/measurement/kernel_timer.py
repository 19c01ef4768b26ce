"""Wait until a time, accurate to about 20 µs, without keeping a CPU busy.

The timers of an event loop have a resolution of 1 ms and may fire early or late. Linux offers timers that a loop can wait
for like a socket (timerfd_create(2)); they wake within about 0.1 ms. The remaining time is spent polling the clock. Each
wait also has a timer of the loop as a fallback, so that it ends, late, even if the kernel timer does not fire.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

LOOP_GRAIN_S = 0.0015  # accuracy of the timers of the loop
TIMER_GRAIN_S = 0.0002  # accuracy of a timerfd: the wait ends this long before the due time
CLOCK_MONOTONIC, TFD_TIMER_ABSTIME = 1, 1  # linux/time.h, linux/timerfd.h


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class KernelTimer:
    """Waits for times of `time.perf_counter`, one at a time. A context manager inside one event loop."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None)
        self._timer = -1
        self._fired: asyncio.Future[None] | None = None

    def __enter__(self) -> Self:
        if sys.platform == "linux":  # where perf_counter reads CLOCK_MONOTONIC
            self._timer = self._libc.timerfd_create(CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._timer >= 0:
            asyncio.get_running_loop().add_reader(self._timer, self._on_readable)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer >= 0:
            asyncio.get_running_loop().remove_reader(self._timer)
            os.close(self._timer)

    async def wait_until(self, due: float) -> None:
        """Return at `due`, or at once if `due` is past; other tasks run during the wait."""
        await self._sleep(due)
        while time.perf_counter() < due:
            await asyncio.sleep(0)

    async def _sleep(self, due: float) -> None:
        """Sleep until shortly before `due`."""
        rest = due - time.perf_counter()
        if self._timer < 0:
            if rest > 2 * LOOP_GRAIN_S:
                await asyncio.sleep(rest - LOOP_GRAIN_S)
        elif rest > 2 * TIMER_GRAIN_S:
            loop = asyncio.get_running_loop()
            self._fired = loop.create_future()
            fallback = loop.call_later(rest + LOOP_GRAIN_S, self._fire)
            self._set(due - TIMER_GRAIN_S)
            try:
                await self._fired
            finally:
                fallback.cancel()

    def _set(self, moment: float) -> None:
        seconds, rest = divmod(moment, 1.0)
        value = _Timespec(int(seconds), max(1, int(rest * 1e9)))  # 0 would disarm the timer
        self._libc.timerfd_settime(
            self._timer, TFD_TIMER_ABSTIME, ctypes.byref(_Itimerspec(_Timespec(0, 0), value)), None
        )

    def _on_readable(self) -> None:
        with suppress(BlockingIOError):  # the timer was set again after it had fired
            os.read(self._timer, 8)
            self._fire()

    def _fire(self) -> None:
        if self._fired is not None and not self._fired.done():
            self._fired.set_result(None)
