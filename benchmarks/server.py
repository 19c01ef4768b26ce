"""A PostgreSQL server for one benchmark, with fsync, in a temporary folder."""

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
    """Yield the folder and the URL of an empty database `bench`. Remove both at the end."""
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder_name:
        folder, [port] = Path(folder_name), free_ports([0])
        folder.chmod(0o755)  # PostgreSQL may run as another user
        server = server_part(folder / "postgres", port, "bench-secret", log=folder / "log", durable=True)
        server.start()
        try:
            server.wait_until_ready(threading.Event())
            create_database(server_url(port, "bench-secret"), "bench")
            yield folder, url_on(server_url(port, "bench-secret"), "bench")
        finally:
            server.stop()
