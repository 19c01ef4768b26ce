"""A cache in front of an origin, for one benchmark: Varnish if it is installed, else the nginx of the Python package."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from slipway.deployments.ports import free_ports
from slipway.deployments.shop import answers, cache_part

TOKEN = "bench-purge-token"  # noqa: S105 - of a cache that lives only during the benchmark


@contextmanager
def cached_origin() -> Iterator[tuple[str, str, str]]:
    """Yield the kind of the cache, its URL, and the URL of the origin."""
    kind = "varnish" if shutil.which("varnishd") else "nginx"
    cache_port, origin_port = free_ports([0, 0])
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder:
        command = [sys.executable, "-m", "benchmarks.origin", str(origin_port)]
        origin = subprocess.Popen(command, stdin=subprocess.PIPE)
        cache = cache_part(kind, Path(folder) / "cache", cache_port, origin_port, TOKEN, Path(folder) / "log")
        try:
            while not answers(f"http://127.0.0.1:{origin_port}/health"):
                if origin.poll() is not None:
                    raise RuntimeError("the origin has exited")
            cache.start()
            cache.wait_until_ready(threading.Event())
            yield kind, f"http://127.0.0.1:{cache_port}", f"http://127.0.0.1:{origin_port}"
        finally:
            cache.stop()
            origin.communicate()


def get(url: str) -> httpx.Response:
    """Return the response to a GET."""
    return httpx.get(url, timeout=10, trust_env=False)
