"""The one subscription to Prefect's events: a websocket that is authenticated, told a filter, and then only read.

Prefect confirms no subscription and drops events for who reads too slowly; so whoever follows them reads the state, too,
once it is subscribed and every now and then.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

from slipway.admin.prefect_api import Document

OPEN_WITHIN_S = 5.0
BEAT_EVERY_S, BEAT_WITHIN_S = 1.0, 3.0
LARGEST = 4 * 1024 * 1024
LOST = (OSError, WebSocketException, TimeoutError, ValueError, KeyError, TypeError)  # garbage is a loss, too
FILTER = {
    "event": {
        "prefix": ["prefect.flow-run.", "prefect.task-run.", "prefect.deployment."],
        "exclude_prefix": ["prefect.flow-run.heartbeat"],
    },
}


@asynccontextmanager
async def subscribed(api_url: str, auth: str, beat: Callable[[], None]) -> AsyncIterator[AsyncIterator[Document]]:
    """The events from now on; `beat` is called about once a second while the server is there.

    Raises one of LOST when it cannot be reached, answers nonsense, or misses a heartbeat.
    """
    url = f"ws{api_url.removeprefix('http').rstrip('/')}/events/out"
    headers = {"Authorization": f"Basic {base64.b64encode(auth.encode()).decode()}"} if auth else None
    async with connect(
        url,
        subprotocols=[Subprotocol("prefect")],
        additional_headers=headers,
        open_timeout=OPEN_WITHIN_S,
        close_timeout=1.0,
        ping_interval=None,  # our own heartbeat tells when the server was last there
        max_size=LARGEST,
        proxy=None,
    ) as socket:
        async with asyncio.timeout(OPEN_WITHIN_S):
            await _introduce(socket, auth)
        heart = asyncio.create_task(_beat(socket, beat))
        try:
            yield _events(socket)
        finally:
            heart.cancel()


async def _introduce(socket: ClientConnection, auth: str) -> None:
    await socket.send(json.dumps({"type": "auth", "token": auth or None}))
    answer = json.loads(await socket.recv())
    if answer["type"] != "auth_success":
        raise ValueError(f"Prefect answered {answer['type']} to the authentication")
    now = datetime.now(UTC)
    span = {"since": (now - timedelta(minutes=1)).isoformat(), "until": (now + timedelta(days=3_650)).isoformat()}
    await socket.send(json.dumps({"type": "filter", "filter": FILTER | {"occurred": span}, "backfill": False}))


async def _events(socket: ClientConnection) -> AsyncIterator[Document]:
    async for message in socket:
        told: Any = json.loads(message)
        if told["type"] == "event":
            event: Document = told["event"]
            yield event


async def _beat(socket: ClientConnection, beat: Callable[[], None]) -> None:
    """Ask for a sign of life each second; without one the connection is closed, which ends who reads it."""
    try:
        while True:
            async with asyncio.timeout(BEAT_WITHIN_S):
                await (await socket.ping())
            beat()
            await asyncio.sleep(BEAT_EVERY_S)
    except LOST:
        socket.transport.abort()  # a close would wait for an answer
