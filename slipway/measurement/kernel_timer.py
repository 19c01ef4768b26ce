"""Wait for a moment to some 20 µs without keeping a processor busy.

An event loop's timers have a grain of 1 ms, early or late. Linux has timers that a loop can wait for like a socket
(timerfd_create(2)), which wake within about 0.1 ms. The rest is spent looking at the clock. Behind each stands a timer of the
loop, so that a wait ends, late, even if the other one is not heard.
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

LOOP_GRAIN_S = 0.0015  # of the loop's own timers
TIMER_GRAIN_S = 0.0002  # of a timerfd: how long before the moment it wakes
CLOCK_MONOTONIC, TFD_TIMER_ABSTIME = 1, 1  # linux/time.h, linux/timerfd.h


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class Alarm:
    """Waits for moments of `time.perf_counter`, one at a time. A context of one event loop."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None)
        self._timer = -1
        self._rung: asyncio.Future[None] | None = None

    def __enter__(self) -> Self:
        if sys.platform == "linux":  # where perf_counter reads CLOCK_MONOTONIC
            self._timer = self._libc.timerfd_create(CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._timer >= 0:
            asyncio.get_running_loop().add_reader(self._timer, self._ring)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer >= 0:
            asyncio.get_running_loop().remove_reader(self._timer)
            os.close(self._timer)

    async def until(self, due: float) -> None:
        """Return at `due`, or at once if that is past; other tasks run in the meantime."""
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
            self._rung = loop.create_future()
            instead = loop.call_later(rest + LOOP_GRAIN_S, self._wake)
            self._set(due - TIMER_GRAIN_S)
            try:
                await self._rung
            finally:
                instead.cancel()

    def _set(self, moment: float) -> None:
        seconds, rest = divmod(moment, 1.0)
        value = _Timespec(int(seconds), max(1, int(rest * 1e9)))  # 0 would disarm the timer
        self._libc.timerfd_settime(
            self._timer, TFD_TIMER_ABSTIME, ctypes.byref(_Itimerspec(_Timespec(0, 0), value)), None
        )

    def _ring(self) -> None:
        with suppress(BlockingIOError):  # set anew since it has gone off
            os.read(self._timer, 8)
            self._wake()

    def _wake(self) -> None:
        if self._rung is not None and not self._rung.done():
            self._rung.set_result(None)
