"""What happens to a run, told to everybody who watches it: one detail is made a second at most, and told to all.

Each run that is watched has a channel: the changes are numbered, and the last of them kept, so that who comes back with
the number of the last one it has seen misses nothing. Who reads too slowly is let go, and comes back in the same way.
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

KEPT, BEHIND, CHANNELS, READERS = 100, 50, 200, 1_000
LOOK_EVERY_S = 1.0
HEARTBEAT_S = 10.0
HEARTBEAT = b": \n\n"


@dataclass(slots=True)
class Change:
    """One event of a stream: `run` (all of it), `change` (the members that changed), `resync` or `end`; and as sent."""

    id: str
    event: str
    data: bytes

    @property
    def wire(self) -> bytes:
        """As it goes over the wire (HTML Standard, server-sent events)."""
        return b"id: %b\nevent: %b\ndata: %b\n\n" % (self.id.encode(), self.event.encode(), self.data)


@dataclass(eq=False)
class Reader:
    """One who watches: what it has not read yet, as bytes; `lost` once that is too much."""

    waiting: deque[bytes] = field(default_factory=deque)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    lost: bool = False
    ended: bool = False

    def tell(self, wire: bytes, *, end: bool = False) -> None:
        """Add one; a reader that is too far behind is lost."""
        self.lost = self.lost or len(self.waiting) >= BEHIND
        self.waiting.append(wire)
        self.ended = self.ended or end
        self.news.set()


@dataclass
class Channel:
    """The changes of one run, the last of them kept."""

    run_id: str
    name: str = field(default_factory=lambda: secrets.token_hex(4))  # another process, or a later channel, has another
    number: int = 0
    over: bool = False
    kept: deque[tuple[int, bytes]] = field(default_factory=lambda: deque(maxlen=KEPT))
    readers: set[Reader] = field(default_factory=set)

    def tell(self, event: str, data: bytes) -> None:
        """Tell everybody one change."""
        self.number += 1
        wire = Change(self.here, event, data).wire
        self.kept.append((self.number, wire))
        self.over = event == "end"
        for reader in list(self.readers):
            reader.tell(wire, end=self.over)
            if reader.lost:
                self.readers.discard(reader)

    @property
    def here(self) -> str:
        """The id of the last change."""
        return f"{self.name}.{self.number}"

    def since(self, last_id: str) -> list[bytes] | None:
        """What came after the change with this id; None when that cannot be told any more."""
        name, _, number = last_id.partition(".")
        if name != self.name or not number.isascii() or not number.isdigit():
            return None
        missed = [wire for at, wire in self.kept if at > int(number)]
        return missed if int(number) + len(missed) == self.number else None


class Streams:
    """The channels of one process."""

    def __init__(self, details: Details) -> None:
        self._details = details
        self._channels: OrderedDict[str, Channel] = OrderedDict()
        self._ticking: asyncio.Task[None] | None = None
        details.listeners.append(self._built)

    async def close(self) -> None:
        """End every stream."""
        if self._ticking is not None:
            self._ticking.cancel()
            await asyncio.gather(self._ticking, return_exceptions=True)

    @property
    def readers(self) -> int:
        """How many watch now."""
        return sum(len(channel.readers) for channel in self._channels.values())

    def is_last(self, run_id: str, last_id: str) -> bool:
        """Whether this is the id of the last change of a run that is over."""
        channel = self._channels.get(run_id)
        return channel is not None and channel.over and channel.here == last_id

    async def open(self, run_id: str, last_id: str | None) -> AsyncIterator[bytes]:
        """What is to be sent to one who watches a run. Raises NotFound and Unavailable before anything is sent."""
        if self.readers >= READERS:
            raise Unavailable("Too many watch already.", expected=f"At most {READERS} streams at a time.")
        detail = await self._details.of(run_id)
        channel = self._channel(run_id, detail)
        missed = channel.since(last_id) if last_id else None
        reader = Reader()
        if missed is None:
            for change in _snapshot(channel, detail, come_back=bool(last_id)):
                reader.tell(change.wire)
        else:
            reader.waiting.extend(missed)
        reader.ended = channel.over
        reader.news.set()
        channel.readers.add(reader)
        if self._ticking is None:
            self._ticking = asyncio.create_task(self._look_again_and_again())
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
            for old, its in list(self._channels.items())[: max(0, len(self._channels) - CHANNELS)]:
                if not its.readers:
                    del self._channels[old]
        self._channels.move_to_end(run_id)
        return channel

    def _built(self, run_id: str, old: Document | None, new: Detail) -> None:
        channel = self._channels.get(run_id)
        if channel is None or old is None:
            return
        changed = {name: value for name, value in new.doc.items() if old.get(name) != value}
        if changed:
            channel.tell("change", to_json(changed))
        if _over(new.doc) and not channel.over and not new.missing:
            channel.tell("end", to_json({"state": new.doc["state"]}))
        channel.over = channel.over and _over(new.doc)  # a run that was over may be resumed

    async def _look_again_and_again(self) -> None:
        """Have the watched runs looked at each second: how far a step is, no event tells."""
        while True:
            began = time.monotonic()
            for run_id, channel in list(self._channels.items()):
                if channel.readers:
                    self._details.renew(run_id)
            await asyncio.sleep(max(0.1, LOOK_EVERY_S - (time.monotonic() - began)))


def _snapshot(channel: Channel, detail: Detail, *, come_back: bool) -> list[Change]:
    changes = [Change(channel.here, "run", detail.head + b"}")]
    if come_back:
        changes.insert(0, Change(channel.here, "resync", b'{"reason":"what came meanwhile is not kept any more"}'))
    if channel.over:
        changes.append(Change(channel.here, "end", to_json({"state": detail.doc["state"]})))
    return changes


def _over(doc: Document) -> bool:
    return doc["state"]["type"] in OVER
