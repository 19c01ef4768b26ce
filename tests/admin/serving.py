"""The app over made-up doors, served on a port of this machine, for a browser."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from admin.app import create_app
from deployments.ports import free_ports
from tests.admin.made_up import MadeUp
from tests.admin.signed_in import let_in


@contextmanager
def served(made_up: MadeUp) -> Iterator[str]:
    """The address of the app over made-up doors while the block runs."""
    app = create_app()
    let_in(app, made_up)
    with serving(app) as address:
        yield address


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """The address of an app while the block runs."""
    [port] = free_ports([0])
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, name="admin service", daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < deadline, "waited 20 s for the app to answer"
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)
