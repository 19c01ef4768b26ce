"""A client of an ASGI app in this process, without a server: cookies, addresses and bytes are as a server would pass them."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx


class InProcess(httpx.BaseTransport):
    """Asks an app; `address` is from where the app sees it come."""

    def __init__(self, app: Any, address: str = "192.0.2.1") -> None:
        self._transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(address, 50_000))
        self._runner = asyncio.Runner()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """One answer, whole."""
        request.read()
        return self._runner.run(self._whole(request))

    async def _whole(self, request: httpx.Request) -> httpx.Response:
        answer = await self._transport.handle_async_request(request)
        return httpx.Response(answer.status_code, headers=answer.headers, content=await answer.aread())

    def close(self) -> None:
        """End its event loop."""
        self._runner.close()
