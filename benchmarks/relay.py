"""A relay that counts the HTTP requests that pass through it. Websocket messages pass uncounted."""

from __future__ import annotations

import asyncio
import threading
from typing import Self

from benchmarks.viewers import cancel_tasks
from slipway.deployments.ports import HOST

REQUEST = b" HTTP/1.1\r\n"  # the end of a request's first line; masked websocket messages do not contain it


class CountingRelay:
    """Relay from its own port to another port of this machine. `requests` is the number of requests so far."""

    def __init__(self, port: int) -> None:
        self._target_port = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.requests = 0
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(cancel_tasks(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    async def _listen(self) -> int:
        server = await asyncio.start_server(self._relay, HOST, 0)
        port: int = server.sockets[0].getsockname()[1]
        return port

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target_reader, target_writer = await asyncio.open_connection(HOST, self._target_port)
        await asyncio.gather(
            self._pump(reader, target_writer, count=True), self._pump(target_reader, writer, count=False)
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
