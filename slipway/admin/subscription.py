"""The subscription to Prefect's events: a websocket that authenticates, sends a filter, and then only reads.

Prefect does not confirm a subscription, and drops events for a slow reader. The caller must therefore also read the full
state, once after it has subscribed and then at intervals.
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
MAX_FRAME_BYTES = 4 * 1024 * 1024
CONNECTION_ERRORS = (OSError, WebSocketException, TimeoutError, ValueError, KeyError, TypeError)  # bad messages, too
FILTER = {
    "event": {
        "prefix": ["prefect.flow-run.", "prefect.task-run.", "prefect.deployment."],
        "exclude_prefix": ["prefect.flow-run.heartbeat"],
    },
}


@asynccontextmanager
async def subscribed(api_url: str, auth: str, beat: Callable[[], None]) -> AsyncIterator[AsyncIterator[Document]]:
    """Subscribe to the events from now on; `beat` is called about once per second while the server answers pings.

    Raises one of CONNECTION_ERRORS if the server is unreachable, sends an invalid message, or misses a heartbeat.
    """
    url = f"ws{api_url.removeprefix('http').rstrip('/')}/events/out"
    headers = {"Authorization": f"Basic {base64.b64encode(auth.encode()).decode()}"} if auth else None
    async with connect(
        url,
        subprotocols=[Subprotocol("prefect")],
        additional_headers=headers,
        open_timeout=OPEN_WITHIN_S,
        close_timeout=1.0,
        ping_interval=None,  # `_beat` sends the pings
        max_size=MAX_FRAME_BYTES,
        proxy=None,
    ) as socket:
        async with asyncio.timeout(OPEN_WITHIN_S):
            await _authenticate(socket, auth)
        heartbeat = asyncio.create_task(_beat(socket, beat))
        try:
            yield _events(socket)
        finally:
            heartbeat.cancel()


async def _authenticate(socket: ClientConnection, auth: str) -> None:
    await socket.send(json.dumps({"type": "auth", "token": auth or None}))
    answer = json.loads(await socket.recv())
    if answer["type"] != "auth_success":
        raise ValueError(f"Prefect answered {answer['type']} to the authentication")
    now = datetime.now(UTC)
    span = {"since": (now - timedelta(minutes=1)).isoformat(), "until": (now + timedelta(days=3_650)).isoformat()}
    await socket.send(json.dumps({"type": "filter", "filter": FILTER | {"occurred": span}, "backfill": False}))


async def _events(socket: ClientConnection) -> AsyncIterator[Document]:
    async for message in socket:
        frame: Any = json.loads(message)
        if frame["type"] == "event":
            event: Document = frame["event"]
            yield event


async def _beat(socket: ClientConnection, beat: Callable[[], None]) -> None:
    """Ping the server once per second. If a pong is missing, abort the connection, which ends its readers."""
    try:
        while True:
            async with asyncio.timeout(BEAT_WITHIN_S):
                await (await socket.ping())
            beat()
            await asyncio.sleep(BEAT_EVERY_S)
    except CONNECTION_ERRORS:
        socket.transport.abort()  # a close would wait for the server's close frame
