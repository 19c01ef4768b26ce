"""People who watch: each follows the events of a run, and reads the list every few seconds."""

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


class Place(NamedTuple):
    """An admin service, and a token that it takes."""

    url: str
    token: str


@dataclass
class Seen:
    """How many watch, and how many events they were told in all; what they do is kept here, as a loop keeps no task."""

    open: int = 0
    events: int = 0
    acts: list[Future[None]] = field(default_factory=list)


@contextmanager
def watching(url: str, token: str, runs: Sequence[str], viewers: int) -> Iterator[Seen]:
    """Have so many watch these runs, in a thread of their own."""
    seen, loop = Seen(), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    place = Place(url, token)
    acts = [act(place, runs[number % len(runs)], seen) for number in range(viewers) for act in (_watch, _read_list)]
    seen.acts = [asyncio.run_coroutine_threadsafe(act, loop) for act in acts]
    try:
        yield seen
    finally:
        asyncio.run_coroutine_threadsafe(end_all(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


async def end_all() -> None:
    """End whatever else runs in this loop."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def _watch(place: Place, run_id: str, seen: Seen) -> None:
    reader, writer = await _ask(place, f"/runs/{run_id}/events")
    seen.open += 1
    try:
        while line := await reader.readline():
            seen.events += line.startswith(b"event: ")
    finally:
        seen.open -= 1
        writer.close()


async def _read_list(place: Place, run_id: str, seen: Seen) -> None:
    while True:
        await asyncio.sleep(LIST_EVERY_S)
        reader, writer = await _ask(place, "/runs", close=True)
        await reader.read()
        writer.close()


async def _ask(place: Place, path: str, *, close: bool = False) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    where = urlsplit(place.url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port, limit=2**22)
    connection = "close" if close else "keep-alive"
    head = f"Host: {where.netloc}\r\nAuthorization: Bearer {place.token}\r\nConnection: {connection}"
    writer.write(f"GET {path} HTTP/1.1\r\n{head}\r\n\r\n".encode())
    status = await reader.readline()
    if b" 200 " not in status:
        raise RuntimeError(f"{path} was answered {status!r}")
    return reader, writer
