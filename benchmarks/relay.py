"""A relay that counts the HTTP requests passing through it; a websocket passes as it is."""

from __future__ import annotations

import asyncio
import threading
from typing import Self

from benchmarks.viewers import end_all
from slipway.deployments.ports import HOST

REQUEST = b" HTTP/1.1\r\n"  # ends each request's first line; what is sent over a websocket is masked


class CountingRelay:
    """From a port of its own to another one of this machine; `requests` counts."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.requests = 0
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(end_all(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    async def _listen(self) -> int:
        server = await asyncio.start_server(self._pass, HOST, 0)
        port: int = server.sockets[0].getsockname()[1]
        return port

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(HOST, self._to)
        await asyncio.gather(
            self._pump(reader, there_writer, count=True), self._pump(there_reader, writer, count=False)
        )

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, count: bool) -> None:
        last = b""
        try:
            while data := await reader.read(65_536):
                if count:
                    self.requests += (last + data).count(REQUEST)
                    last = data[1 - len(REQUEST) :]
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()
