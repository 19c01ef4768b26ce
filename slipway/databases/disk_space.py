"""Disk space and time for a copy of a database, and a private folder for it."""

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
    """Return the folder for temporary copies: TMPDIR, or the system default."""
    return Path(tempfile.gettempdir())


def require_disk_space(folder: Path, needed: int, purpose: str) -> None:
    """Raise SlipwayError if fewer than `needed` bytes are free in `folder`. The message names `purpose`."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise SlipwayError(
            f"There is not enough disk space for {purpose}: {needed / 1e6:.0f} MB are needed, {free / 1e6:.0f} MB are free.",
            expected=f"{needed / 1e6:.0f} MB are free in {folder}, or TMPDIR names a folder with that much free space.",
            retry_is_safe=True,
        )


def require_copy_time(needed: int, bytes_per_s: float, purpose: str) -> None:
    """Raise SlipwayError if `needed` bytes take longer than `COPY_WITHIN_S` at `bytes_per_s`, the fastest likely speed."""
    seconds = needed / bytes_per_s
    if seconds > COPY_WITHIN_S:
        raise SlipwayError(
            f"There is not enough time for {purpose}: {needed / 1e9:.0f} GB take at least {seconds / 60:.0f} minutes.",
            expected=f"The copy takes at most {COPY_WITHIN_S // 60} minutes.",
            retry_is_safe=True,
        )


@contextmanager
def private_folder(path: Path) -> Iterator[Path]:
    """Create an empty folder that only this user can read, and remove it at the end. Remove leftovers of a killed run first.

    Raises SlipwayError if `path` exists and cannot be removed.
    """
    shutil.rmtree(path, ignore_errors=True)
    try:
        path.mkdir(mode=0o700)
    except OSError as error:
        raise SlipwayError(
            f"Could not create the folder {path.name} for the copy in {path.parent}: {os.strerror(error.errno or 0)}.",
            expected="Slipway can write to the folder for temporary files, and no other user owns a file of that name.",
            retry_is_safe=True,
        ) from None
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
