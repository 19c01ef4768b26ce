"""A client of an ASGI app in this process, without a server: cookies, addresses and bytes are as a server would pass them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx


async def _at_once() -> None:
    return None


class InProcess(httpx.BaseTransport):
    """Asks an app; `address` is from where the app sees it come.

    A server goes on behind an answer, and this loop stands still until the next request: `settled` waits for what goes on.
    """

    def __init__(
        self, app: Any, address: str = "192.0.2.1", settled: Callable[[], Awaitable[object]] = _at_once
    ) -> None:
        self._settled = settled
        self._transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(address, 50_000))
        self._runner = asyncio.Runner()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """One answer, whole."""
        request.read()
        return self._runner.run(self._whole(request))

    async def _whole(self, request: httpx.Request) -> httpx.Response:
        answer = await self._transport.handle_async_request(request)
        whole = httpx.Response(answer.status_code, headers=answer.headers, content=await answer.aread())
        await self._settled()
        return whole

    def close(self) -> None:
        """End its event loop."""
        self._runner.close()
