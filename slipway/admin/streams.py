"""Streams of a run's changes. All readers of a run share one detail, which is rebuilt at most once per second.

Each watched run has a channel. The changes are numbered and the last ones are kept, so that a reader that reconnects with
the id of the last change that it received misses nothing. A reader that is too slow is disconnected, and can reconnect.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from pydantic_core import to_json

from slipway.admin.details import Detail, Details
from slipway.admin.prefect_api import Document
from slipway.admin.read_model import OVER
from slipway.core.errors import Unavailable

MAX_KEPT, MAX_UNREAD, MAX_CHANNELS, MAX_READERS = 100, 50, 200, 1_000
REFRESH_EVERY_S = 1.0
HEARTBEAT_S = 10.0
HEARTBEAT = b": \n\n"


@dataclass(slots=True)
class Change:
    """One event of a stream: `run` (the whole run), `change` (the changed members), `resync` or `end`."""

    id: str
    event: str
    data: bytes

    @property
    def encoded(self) -> bytes:
        """The encoded event (HTML Standard, server-sent events)."""
        return b"id: %b\nevent: %b\ndata: %b\n\n" % (self.id.encode(), self.event.encode(), self.data)


@dataclass(eq=False)
class Reader:
    """A reader of a stream, with its unread events as bytes; `lost` once there are too many."""

    waiting: deque[bytes] = field(default_factory=deque)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    lost: bool = False
    ended: bool = False

    def push(self, encoded: bytes, *, end: bool = False) -> None:
        """Add an encoded event. Marks the reader as lost if too many events are unread."""
        self.lost = self.lost or len(self.waiting) >= MAX_UNREAD
        self.waiting.append(encoded)
        self.ended = self.ended or end
        self.news.set()


@dataclass
class Channel:
    """The changes of one run; the last ones are kept."""

    run_id: str
    name: str = field(default_factory=lambda: secrets.token_hex(4))  # unique across processes and over time
    number: int = 0
    over: bool = False
    kept: deque[tuple[int, bytes]] = field(default_factory=lambda: deque(maxlen=MAX_KEPT))
    readers: set[Reader] = field(default_factory=set)

    def publish(self, event: str, data: bytes) -> None:
        """Send a change to all readers."""
        self.number += 1
        encoded = Change(self.current_id, event, data).encoded
        self.kept.append((self.number, encoded))
        self.over = event == "end"
        for reader in list(self.readers):
            reader.push(encoded, end=self.over)
            if reader.lost:
                self.readers.discard(reader)

    @property
    def current_id(self) -> str:
        """The id of the last change."""
        return f"{self.name}.{self.number}"

    def since(self, last_id: str) -> list[bytes] | None:
        """Return the changes after this id, or None if some of them are no longer kept."""
        name, _, number = last_id.partition(".")
        if name != self.name or not number.isascii() or not number.isdigit():
            return None
        backlog = [encoded for at, encoded in self.kept if at > int(number)]
        return backlog if int(number) + len(backlog) == self.number else None


class Streams:
    """The channels of one process."""

    def __init__(self, details: Details) -> None:
        self._details = details
        self._channels: OrderedDict[str, Channel] = OrderedDict()
        self._refreshing: asyncio.Task[None] | None = None
        details.listeners.append(self._detail_built)

    async def close(self) -> None:
        """Stop refreshing watched runs."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)

    @property
    def readers(self) -> int:
        """The number of connected readers."""
        return sum(len(channel.readers) for channel in self._channels.values())

    def is_last(self, run_id: str, last_id: str) -> bool:
        """Whether a run has ended and `last_id` is the id of its last change."""
        channel = self._channels.get(run_id)
        return channel is not None and channel.over and channel.current_id == last_id

    async def open(self, run_id: str, last_id: str | None) -> AsyncIterator[bytes]:
        """Open a stream for a reader of a run. Raises NotFound and Unavailable before the first event is sent."""
        if self.readers >= MAX_READERS:
            raise Unavailable(
                "Too many streams are open.", expected=f"At most {MAX_READERS} streams are open at a time."
            )
        detail = await self._details.get(run_id)
        channel = self._channel(run_id, detail)
        backlog = channel.since(last_id) if last_id else None
        reader = Reader()
        if backlog is None:
            for change in _snapshot(channel, detail, reconnected=bool(last_id)):
                reader.push(change.encoded)
        else:
            reader.waiting.extend(backlog)
        reader.ended = channel.over
        reader.news.set()
        channel.readers.add(reader)
        if self._refreshing is None:
            self._refreshing = asyncio.create_task(self._refresh_periodically())
        return self._read(channel, reader)

    async def _read(self, channel: Channel, reader: Reader) -> AsyncIterator[bytes]:
        try:
            while True:
                while reader.waiting and not reader.lost:
                    yield reader.waiting.popleft()
                if reader.ended or reader.lost:
                    return
                reader.news.clear()
                try:
                    async with asyncio.timeout(HEARTBEAT_S):
                        await reader.news.wait()
                except TimeoutError:
                    yield HEARTBEAT
        finally:
            channel.readers.discard(reader)

    def _channel(self, run_id: str, detail: Detail) -> Channel:
        channel = self._channels.get(run_id)
        if channel is None:
            channel = self._channels[run_id] = Channel(run_id, over=_over(detail.doc))
            for old_id, old in list(self._channels.items())[: max(0, len(self._channels) - MAX_CHANNELS)]:
                if not old.readers:
                    del self._channels[old_id]
        self._channels.move_to_end(run_id)
        return channel

    def _detail_built(self, run_id: str, old: Document | None, new: Detail) -> None:
        channel = self._channels.get(run_id)
        if channel is None or old is None:
            return
        changed = {name: value for name, value in new.doc.items() if old.get(name) != value}
        if changed:
            channel.publish("change", to_json(changed))
        if _over(new.doc) and not channel.over and not new.missing:
            channel.publish("end", to_json({"state": new.doc["state"]}))
        channel.over = channel.over and _over(new.doc)  # an ended run may be resumed

    async def _refresh_periodically(self) -> None:
        """Refresh the watched runs once per second, because no event reports the progress of a step."""
        while True:
            began = time.monotonic()
            for run_id, channel in list(self._channels.items()):
                if channel.readers:
                    self._details.refresh(run_id)
            await asyncio.sleep(max(0.1, REFRESH_EVERY_S - (time.monotonic() - began)))


def _snapshot(channel: Channel, detail: Detail, *, reconnected: bool) -> list[Change]:
    changes = [Change(channel.current_id, "run", detail.head + b"}")]
    if reconnected:
        changes.insert(0, Change(channel.current_id, "resync", b'{"reason":"older changes are no longer kept"}'))
    if channel.over:
        changes.append(Change(channel.current_id, "end", to_json({"state": detail.doc["state"]})))
    return changes


def _over(doc: Document) -> bool:
    return doc["state"]["type"] in OVER
