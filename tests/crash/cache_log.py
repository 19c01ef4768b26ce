"""How often the cache was asked to purge, as the cache's own log says."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slipway.deployments.stack import Stack


class CacheLog:
    """Reads Varnish's log while it lasts; where the cache is another one nothing is counted, and `read` says so."""

    def __init__(self, file: Path, *, read: bool) -> None:
        self._file = file
        self.read = read

    def purges(self) -> int:
        """The purges that the cache has answered so far."""
        return len(self._file.read_text(encoding="utf-8").splitlines()) if self._file.exists() else 0


@contextmanager
def cache_log(stack: Stack) -> Iterator[CacheLog]:
    """The log of a stack's cache. Its reader is started again when it ends, as it does with the cache that it reads."""
    program, file, over = shutil.which("varnishncsa"), stack.home / "purges", threading.Event()
    log = CacheLog(file, read=program is not None and stack.environment["SHOP_CACHE"] == "varnish")
    if not log.read or program is None:
        yield log
        return
    work = stack.home / "varnish" / "varnish"
    argv = [program, "-n", str(work), "-t", "30", "-a", "-q", 'ReqMethod eq "PURGE"', "-F", "%r", "-w", str(file)]

    def go_on() -> None:
        while not over.is_set():
            with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as reader:
                while reader.poll() is None and not over.wait(0.2):
                    pass
                reader.terminate()

    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    try:
        yield log
    finally:
        over.set()
        thread.join(60)
