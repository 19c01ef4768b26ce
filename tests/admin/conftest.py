"""The app with sample admin services; requests are sent in the test's own process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from slipway.admin.app import create_app
from slipway.admin.auth.caller import Caller
from tests.admin.made_up import MadeUp
from tests.admin.signed_in import ADMIN, let_in

Ask = Callable[..., httpx.Response]


@pytest.fixture
def made_up(tmp_path: Path) -> MadeUp:
    """The sample admin services with one run."""
    return MadeUp(tmp_path)


@pytest.fixture
def ask(made_up: MadeUp) -> Ask:
    """Send a request to the app as an admin: method, path, and further arguments of httpx."""
    return asking(made_up, ADMIN)


def asking(made_up: MadeUp, caller: Caller) -> Ask:
    """Return a function that sends requests to the app as this caller."""
    app = create_app()
    let_in(app, made_up, caller)

    async def send(method: str, path: str, **more: Any) -> httpx.Response:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://127.0.0.1"
        ) as client:
            return await client.request(method, path, **more)

    return lambda method, path, **more: asyncio.run(send(method, path, **more))


@pytest.fixture
def get(ask: Ask) -> Callable[[str], httpx.Response]:
    """Request a page of the app."""
    return lambda path: ask("GET", path)
