"""People who watch: each follows the events of a run, and reads the list every few seconds."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

LIST_EVERY_S = 5.0


@dataclass
class Seen:
    """How many watch, and how many events they were told in all."""

    open: int = 0
    events: int = 0


@contextmanager
def watching(url: str, runs: Sequence[str], viewers: int) -> Iterator[Seen]:
    """Have so many watch these runs, in a thread of their own."""
    seen, loop = Seen(), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    tasks = [
        asyncio.run_coroutine_threadsafe(act(url, runs[number % len(runs)], seen), loop)
        for number in range(viewers)
        for act in (_watch, _read_list)
    ]
    try:
        yield seen
    finally:
        for task in tasks:
            task.cancel()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


async def _watch(url: str, run_id: str, seen: Seen) -> None:
    reader, writer = await _ask(url, f"/runs/{run_id}/events")
    seen.open += 1
    try:
        while line := await reader.readline():
            seen.events += line.startswith(b"event: ")
    finally:
        seen.open -= 1
        writer.close()


async def _read_list(url: str, run_id: str, seen: Seen) -> None:
    while True:
        await asyncio.sleep(LIST_EVERY_S)
        reader, writer = await _ask(url, "/runs", close=True)
        await reader.read()
        writer.close()


async def _ask(url: str, path: str, *, close: bool = False) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port, limit=2**22)
    connection = "close" if close else "keep-alive"
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {where.netloc}\r\nConnection: {connection}\r\n\r\n".encode())
    status = await reader.readline()
    if b" 200 " not in status:
        raise RuntimeError(f"{path} was answered {status!r}")
    return reader, writer
