"""PostgreSQL's protocol 3.0 as a bystander reads it: which statement begins and ends, and whether a transaction is open.

It is fed the bytes of both directions and changes none (manual, "Frontend/Backend Protocol", "Message Formats"). A simple
query of several statements is one: the server may keep its answers back until the last is done, so that only their time
together is known.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

ENCRYPTION_REQUESTS = (80877103, 80877104)  # SSLRequest, GSSENCRequest: answered with one byte, before all else
CANCEL_REQUEST = 80877102
COUNTED = {b"INSERT", b"UPDATE", b"DELETE", b"MERGE", b"SELECT", b"COPY", b"FETCH", b"MOVE"}
READ = frozenset("QPBES")  # the client's messages that tell something
ANSWERS = frozenset("CEIKsZ")  # the server's


@dataclass
class Frames:
    """Cuts a stream of messages into (type, body). The bodies of other types than `wanted` are passed over, not kept."""

    wanted: frozenset[str]
    _kept: bytearray = field(default_factory=bytearray)
    _passing: int = 0

    def feed(self, data: bytes) -> Iterator[tuple[str, bytes]]:
        """The messages that are whole with these bytes."""
        at = min(self._passing, len(data))
        self._passing -= at
        self._kept += data[at:]
        while len(self._kept) >= 5:
            kind, (length,) = chr(self._kept[0]), struct.unpack_from("!I", self._kept, 1)
            if kind not in self.wanted:
                self._passing = max(0, length + 1 - len(self._kept))
                del self._kept[: length + 1]
            elif len(self._kept) <= length:
                return
            else:
                body = bytes(self._kept[5 : length + 1])
                del self._kept[: length + 1]
                yield kind, body


@dataclass(frozen=True)
class Ended:
    """A statement that ended: its text, when it began and ended (the listener's clock), and the rows that were told."""

    sql: str
    began: float
    ended: float
    rows: int | None


@dataclass(frozen=True)
class Ready:
    """The server waits for the next message; `open` says that a transaction is under way."""

    open: bool
    at: float


@dataclass
class _Pending:
    sql: str
    sent: float
    kind: Literal["simple", "extended", "sync"]
    rows: int | None = None  # of a simple query so far
    failed: bool = False


class ProtocolSession:
    """One session after its start: what the client asks and the server answers, as statements."""

    def __init__(self) -> None:
        self.pid = 0
        self._from_client, self._from_server = Frames(READ), Frames(ANSWERS)
        self._prepared: dict[bytes, str] = {}
        self._portals: dict[bytes, str] = {}
        self._pending: deque[_Pending] = deque()
        self._last_end = 0.0

    def running(self) -> tuple[str, float] | None:
        """The text of the statement that the server is at, and when it began; None between statements."""
        for pending in self._pending:
            if pending.kind != "sync":
                return pending.sql, max(pending.sent, self._last_end)
        return None

    def asked(self, data: bytes, at: float) -> None:
        """Take in what the client sent at `at`."""
        for kind, body in self._from_client.feed(data):
            if kind == "Q":
                text = body.rstrip(b"\0").decode("utf-8", "replace")
                self._pending.append(_Pending(text, at, "simple"))
            elif kind == "P":
                name, _, rest = body.partition(b"\0")
                self._prepared[name] = rest.partition(b"\0")[0].decode("utf-8", "replace")
            elif kind == "B":
                portal, _, rest = body.partition(b"\0")
                self._portals[portal] = self._prepared.get(rest.partition(b"\0")[0], "")
            elif kind == "E":
                portal = body.partition(b"\0")[0]
                self._pending.append(_Pending(self._portals.get(portal, ""), at, "extended"))
            else:
                self._pending.append(_Pending("", at, "sync"))

    def answered(self, data: bytes, at: float) -> Iterator[Ended | Ready]:
        """Take in what the server sent at `at`: the statements that ended, and where it waits again."""
        for kind, body in self._from_server.feed(data):
            if kind == "K":
                (self.pid,) = struct.unpack_from("!I", body)
            elif kind == "Z":
                yield from self._ready(at)
                yield Ready(open=body != b"I", at=at)
            elif (ended := self._answer(kind, body, at)) is not None:
                yield ended

    def _answer(self, kind: str, body: bytes, at: float) -> Ended | None:
        head = self._pending[0] if self._pending else None
        if head is None or head.kind == "sync":  # of a notice from outside, or of a Parse that failed
            return None
        rows = _rows(body) if kind == "C" else None
        if head.kind == "simple":  # it may hold several statements, and ends when the server is ready again
            head.failed = head.failed or kind == "E"
            head.rows = head.rows if rows is None else rows + (head.rows or 0)
            return None
        self._pending.popleft()
        if kind == "E":  # the server passes over all up to the next Sync
            self._drop_extended()
        return self._end(head, rows, at)

    def _ready(self, at: float) -> Iterator[Ended]:
        self._drop_extended()
        if self._pending and (head := self._pending.popleft()).kind == "simple":
            ended = self._end(head, None if head.failed else head.rows, at)
            if ended is not None:
                yield ended

    def _end(self, pending: _Pending, rows: int | None, at: float) -> Ended | None:
        began, self._last_end = max(pending.sent, self._last_end), at
        return Ended(pending.sql, began, at, rows) if pending.sql.strip() else None

    def _drop_extended(self) -> None:
        while self._pending and self._pending[0].kind == "extended":
            self._pending.popleft()


def _rows(tag: bytes) -> int | None:
    """The rows of a CommandComplete: "INSERT 0 5", "UPDATE 3"; other commands count none."""
    words = tag.rstrip(b"\0").split()
    return int(words[-1]) if words and words[0] in COUNTED and words[-1].isdigit() else None
