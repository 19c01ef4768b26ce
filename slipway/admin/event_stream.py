"""A response of server-sent events. The response ends when the reader disconnects or stops reading."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from fastapi import Response
from starlette.types import Receive, Scope, Send

TAKEN_WITHIN_S = 20.0


class EventStream(Response):
    """A response that sends encoded events."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[bytes]) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events until they end or the reader disconnects."""
        sending = asyncio.ensure_future(self._send_all(send))
        disconnecting = asyncio.ensure_future(_wait_disconnected(receive))
        try:
            await asyncio.wait([sending, disconnecting], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, disconnecting):
                task.cancel()
            await asyncio.gather(sending, disconnecting, return_exceptions=True)

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async for chunk in self._events:
            async with asyncio.timeout(TAKEN_WITHIN_S):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _wait_disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
