"""Interpreter settings for a process that mainly answers web requests."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

SWITCH_INTERVAL_S = 0.000_5


@contextmanager
def fast_thread_switching() -> Iterator[None]:
    """Within this block, a thread that queries the store yields to a waiting response after 0.5 ms.

    By default a thread keeps the interpreter for 5 ms, which is longer than most responses take. The garbage collector
    skips all objects loaded until now, because they live as long as the process.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        sys.setswitchinterval(before)
