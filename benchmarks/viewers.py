"""Viewers of the admin service: each follows the events of a run, and reads the list every few seconds."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlsplit

LIST_EVERY_S = 5.0


class Service(NamedTuple):
    """An admin service, and a valid token."""

    url: str
    token: str


@dataclass
class Viewers:
    """The number of open event streams and of received events. `tasks` keeps references, because an event loop keeps none."""

    open: int = 0
    events: int = 0
    tasks: list[Future[None]] = field(default_factory=list)


@contextmanager
def connected_viewers(url: str, token: str, runs: Sequence[str], viewers: int) -> Iterator[Viewers]:
    """Connect this many viewers to these runs, in their own thread."""
    state, loop = Viewers(), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    service = Service(url, token)
    coroutines = [
        action(service, runs[number % len(runs)], state) for number in range(viewers) for action in (_watch, _read_list)
    ]
    state.tasks = [asyncio.run_coroutine_threadsafe(coroutine, loop) for coroutine in coroutines]
    try:
        yield state
    finally:
        asyncio.run_coroutine_threadsafe(cancel_tasks(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


async def cancel_tasks() -> None:
    """Cancel all other tasks of this event loop."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def _watch(service: Service, run_id: str, state: Viewers) -> None:
    reader, writer = await _get(service, f"/runs/{run_id}/events")
    state.open += 1
    try:
        while line := await reader.readline():
            state.events += line.startswith(b"event: ")
    finally:
        state.open -= 1
        writer.close()


async def _read_list(service: Service, run_id: str, state: Viewers) -> None:
    while True:
        await asyncio.sleep(LIST_EVERY_S)
        reader, writer = await _get(service, "/runs", close=True)
        await reader.read()
        writer.close()


async def _get(
    service: Service, path: str, *, close: bool = False
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    address = urlsplit(service.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=2**22)
    connection = "close" if close else "keep-alive"
    head = f"Host: {address.netloc}\r\nAuthorization: Bearer {service.token}\r\nConnection: {connection}"
    writer.write(f"GET {path} HTTP/1.1\r\n{head}\r\n\r\n".encode())
    status = await reader.readline()
    if b" 200 " not in status:
        raise RuntimeError(f"{path} returned {status!r}")
    return reader, writer
