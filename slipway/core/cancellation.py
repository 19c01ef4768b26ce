"""Interruption of long steps: a step calls `check` regularly, and the code that runs the step defines what `check` does.

The core does not know about cancel requests. By default `check` does nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

EVERY_S = 0.5  # interval between two calls of `check` in a step that waits


def _never() -> None:
    """Do nothing: the default of `check`."""


_check: ContextVar[Callable[[], None]] = ContextVar("interruption", default=_never)


def check() -> None:
    """Raise the exception of the interruption, if there is one."""
    _check.get()()


def wait(seconds: float) -> None:
    """Wait for some seconds. An interruption raises its exception within half a second."""
    deadline = time.monotonic() + seconds
    while (remaining := deadline - time.monotonic()) > 0:
        check()
        time.sleep(min(remaining, EVERY_S))


@contextmanager
def uninterruptible() -> Iterator[None]:
    """Disable interruption in this block, so that the block runs to its end."""
    with interruptible(_never):
        yield


@contextmanager
def interruptible(by: Callable[[], None]) -> Iterator[None]:
    """Make `check` call `by` in this block; `by` raises an exception to interrupt."""
    token = _check.set(by)
    try:
        yield
    finally:
        _check.reset(token)
