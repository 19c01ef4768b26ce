"""Where a long step can be interrupted: it asks `check` now and then; whoever runs the step says what that does.

The core knows no cancel button. By default nothing interrupts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

EVERY_S = 0.5  # how often a step that waits should ask


def _never() -> None:
    """Nothing interrupts."""


_check: ContextVar[Callable[[], None]] = ContextVar("interruption", default=_never)


def check() -> None:
    """Raise what interrupts us, if anything does."""
    _check.get()()


def wait(seconds: float) -> None:
    """Wait, but not through an interruption: raise what interrupts us, within half a second."""
    until = time.monotonic() + seconds
    while (rest := until - time.monotonic()) > 0:
        check()
        time.sleep(min(rest, EVERY_S))


@contextmanager
def unbroken() -> Iterator[None]:
    """Within this block nothing interrupts: what is begun here is ended here."""
    with interruptible(_never):
        yield


@contextmanager
def interruptible(by: Callable[[], None]) -> Iterator[None]:
    """Within this block `check` calls `by`, which raises to interrupt."""
    before = _check.set(by)
    try:
        yield
    finally:
        _check.reset(before)
