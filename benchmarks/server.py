"""A PostgreSQL for one bench, with fsync, in a folder of its own."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slipway.deployments.ports import free_ports
from slipway.deployments.postgres import create_database, server_part, server_url, url_on


@contextmanager
def bench_server() -> Iterator[tuple[Path, str]]:
    """The folder, and the URL of an empty database `bench`; both are gone at the end."""
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder:
        place, [port] = Path(folder), free_ports([0])
        place.chmod(0o755)  # PostgreSQL may run as another user
        server = server_part(place / "postgres", port, "bench-secret", log=place / "log", durable=True)
        server.start()
        try:
            server.wait_until_ready(threading.Event())
            create_database(server_url(port, "bench-secret"), "bench")
            yield place, url_on(server_url(port, "bench-secret"), "bench")
        finally:
            server.stop()
