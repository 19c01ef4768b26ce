"""An httpx transport that calls an ASGI app in this process, with cookies, addresses and bytes as from a server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx


async def _at_once() -> None:
    return None


class InProcess(httpx.BaseTransport):
    """Calls an app; `address` is the client address that the app sees.

    Background tasks continue after a response, but this event loop stops until the next request: `settled` waits for them.
    """

    def __init__(
        self, app: Any, address: str = "192.0.2.1", settled: Callable[[], Awaitable[object]] = _at_once
    ) -> None:
        self._settled = settled
        self._transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(address, 50_000))
        self._runner = asyncio.Runner()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Return the complete response to a request."""
        request.read()
        return self._runner.run(self._read_response(request))

    async def _read_response(self, request: httpx.Request) -> httpx.Response:
        streamed = await self._transport.handle_async_request(request)
        response = httpx.Response(streamed.status_code, headers=streamed.headers, content=await streamed.aread())
        await self._settled()
        return response

    def close(self) -> None:
        """Close the event loop."""
        self._runner.close()
