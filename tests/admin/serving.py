"""Serve an app on a local port, for a browser."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from slipway.deployments.ports import free_ports

WITHIN_S = 120.0


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """Serve an app within this block, and yield its URL."""
    [port] = free_ports([0])
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, name="admin service", daemon=True)
    thread.start()
    deadline = time.monotonic() + WITHIN_S
    while not server.started:
        assert time.monotonic() < deadline, f"waited {WITHIN_S:.0f} s for the app to answer"
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(WITHIN_S)
        assert not thread.is_alive(), "waited for the app to end"
