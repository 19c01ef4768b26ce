"""Where a copy goes: whether there is room and time for it, and a folder that only we can read."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slipway.core.errors import SlipwayError

COPY_WITHIN_S = 3_600


def temporary() -> Path:
    """The folder under which copies are made: TMPDIR, or the system's own."""
    return Path(tempfile.gettempdir())


def check_room(folder: Path, needed: int, what: str) -> None:
    """Raise SlipwayError where less than `needed` bytes are free under `folder`; `what` says for what."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise SlipwayError(
            f"There is no room for {what}: {needed / 1e6:.0f} MB are needed, {free / 1e6:.0f} MB free.",
            expected=f"{needed / 1e6:.0f} MB free in {folder}, or TMPDIR set to where they are.",
            retry_is_safe=True,
        )


def check_time(needed: int, bytes_per_s: float, what: str) -> None:
    """Raise SlipwayError where `needed` bytes, at a speed that no machine exceeds by much, take longer than a copy may."""
    seconds = needed / bytes_per_s
    if seconds > COPY_WITHIN_S:
        raise SlipwayError(
            f"There is no time for {what}: {needed / 1e9:.0f} GB take at least {seconds / 60:.0f} minutes.",
            expected=f"A copy within {COPY_WITHIN_S // 60} minutes.",
            retry_is_safe=True,
        )


@contextmanager
def private_folder(path: Path) -> Iterator[Path]:
    """An empty folder that only we can read, removed at the end; what a dead run left there is removed first.

    Raises SlipwayError where something stands there that is not ours to remove.
    """
    shutil.rmtree(path, ignore_errors=True)
    try:
        path.mkdir(mode=0o700)
    except OSError as error:
        raise SlipwayError(
            f"The folder {path.name} for the copy cannot be made in {path.parent}: {os.strerror(error.errno or 0)}.",
            expected="A folder for temporary files that Slipway may write to, and nothing of another user there.",
            retry_is_safe=True,
        ) from None
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
