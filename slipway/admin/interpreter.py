"""Settings of the interpreter for a process that answers people, and does little else."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

SWITCHED_S = 0.000_5


@contextmanager
def answering_quickly() -> Iterator[None]:
    """Within this block a thread that looks into the store lets a waiting answer go first.

    By default a thread keeps the interpreter for 5 ms, which is longer than most answers take. What was loaded until
    now is never garbage, and is not looked at again when garbage is collected.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCHED_S)
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        sys.setswitchinterval(before)
