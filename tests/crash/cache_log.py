"""Count the purge requests in the cache's own log."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slipway.deployments.stack import Stack


class CacheLog:
    """The log of a Varnish cache. For other caches nothing is counted, and `read` is false."""

    def __init__(self, file: Path, *, read: bool) -> None:
        self._file = file
        self.read = read

    def purges(self) -> int:
        """Return the number of purges that the cache has answered so far."""
        return len(self._file.read_text(encoding="utf-8").splitlines()) if self._file.exists() else 0


@contextmanager
def cache_log(stack: Stack) -> Iterator[CacheLog]:
    """Read the log of a stack's cache. The reader exits with the cache, and is then restarted."""
    program, file, stopped = shutil.which("varnishncsa"), stack.home / "purges", threading.Event()
    log = CacheLog(file, read=program is not None and stack.environment["SHOP_CACHE"] == "varnish")
    if not log.read or program is None:
        yield log
        return
    varnish_folder = stack.home / "varnish" / "varnish"
    argv = [
        program,
        "-n",
        str(varnish_folder),
        "-t",
        "30",
        "-a",
        "-q",
        'ReqMethod eq "PURGE"',
        "-F",
        "%r",
        "-w",
        str(file),
    ]

    def keep_reading() -> None:
        while not stopped.is_set():
            with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as reader:
                while reader.poll() is None and not stopped.wait(0.2):
                    pass
                reader.terminate()

    thread = threading.Thread(target=keep_reading, daemon=True)
    thread.start()
    try:
        yield log
    finally:
        stopped.set()
        thread.join(60)
