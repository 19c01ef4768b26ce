"""Passive reader of PostgreSQL's protocol 3.0: when statements start and end, and whether a transaction is open.

The reader gets the bytes of both directions (manual, "Frontend/Backend Protocol", "Message Formats"). It counts a simple
query with several statements as one statement: the server may send all responses after the last one, so that only the
total time is known.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

ENCRYPTION_REQUESTS = (80877103, 80877104)  # SSLRequest, GSSENCRequest: the server first replies with one byte
CANCEL_REQUEST = 80877102
COUNTED = {b"INSERT", b"UPDATE", b"DELETE", b"MERGE", b"SELECT", b"COPY", b"FETCH", b"MOVE"}
FRONTEND_TYPES = frozenset("QPBES")  # the client messages that are read
BACKEND_TYPES = frozenset("CEIKsZ")  # the server messages that are read


@dataclass
class Frames:
    """Split a stream into messages (type, body). Messages of types that are not in `types` are skipped without buffering."""

    types: frozenset[str]
    _buffer: bytearray = field(default_factory=bytearray)
    _to_skip: int = 0

    def feed(self, data: bytes) -> Iterator[tuple[str, bytes]]:
        """Yield the messages that these bytes complete."""
        at = min(self._to_skip, len(data))
        self._to_skip -= at
        self._buffer += data[at:]
        while len(self._buffer) >= 5:
            kind, (length,) = chr(self._buffer[0]), struct.unpack_from("!I", self._buffer, 1)
            if kind not in self.types:
                self._to_skip = max(0, length + 1 - len(self._buffer))
                del self._buffer[: length + 1]
            elif len(self._buffer) <= length:
                return
            else:
                body = bytes(self._buffer[5 : length + 1])
                del self._buffer[: length + 1]
                yield kind, body


@dataclass(frozen=True)
class StatementEnded:
    """A statement that ended: its text, its start and end by the reader's clock, and the rows that the server reported."""

    sql: str
    began: float
    ended: float
    rows: int | None


@dataclass(frozen=True)
class ReadyForQuery:
    """The server is ready for the next query. `open` is true inside a transaction."""

    open: bool
    at: float


@dataclass
class _Pending:
    sql: str
    sent: float
    kind: Literal["simple", "extended", "sync"]
    rows: int | None = None  # of a simple query, so far
    failed: bool = False


class ProtocolSession:
    """One session after start-up. Turns the messages of client and server into statements."""

    def __init__(self) -> None:
        self.pid = 0
        self._frontend, self._backend = Frames(FRONTEND_TYPES), Frames(BACKEND_TYPES)
        self._prepared: dict[bytes, str] = {}
        self._portals: dict[bytes, str] = {}
        self._pending: deque[_Pending] = deque()
        self._last_end = 0.0

    def running(self) -> tuple[str, float] | None:
        """Return the text and the start time of the running statement, or None between statements."""
        for pending in self._pending:
            if pending.kind != "sync":
                return pending.sql, max(pending.sent, self._last_end)
        return None

    def feed_frontend(self, data: bytes, at: float) -> None:
        """Read the bytes that the client sent at time `at`."""
        for kind, body in self._frontend.feed(data):
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

    def feed_backend(self, data: bytes, at: float) -> Iterator[StatementEnded | ReadyForQuery]:
        """Read the bytes that the server sent at time `at`. Yield each statement that ended, and each ReadyForQuery."""
        for kind, body in self._backend.feed(data):
            if kind == "K":
                (self.pid,) = struct.unpack_from("!I", body)
            elif kind == "Z":
                yield from self._ready(at)
                yield ReadyForQuery(open=body != b"I", at=at)
            elif (ended := self._handle_response(kind, body, at)) is not None:
                yield ended

    def _handle_response(self, kind: str, body: bytes, at: float) -> StatementEnded | None:
        head = self._pending[0] if self._pending else None
        if head is None or head.kind == "sync":  # the response to a failed Parse, or an unsolicited message
            return None
        rows = _rows(body) if kind == "C" else None
        if head.kind == "simple":  # may contain several statements; ends with ReadyForQuery
            head.failed = head.failed or kind == "E"
            head.rows = head.rows if rows is None else rows + (head.rows or 0)
            return None
        self._pending.popleft()
        if kind == "E":  # after an error, the server skips messages until the next Sync
            self._drop_extended()
        return self._end(head, rows, at)

    def _ready(self, at: float) -> Iterator[StatementEnded]:
        self._drop_extended()
        if self._pending and (head := self._pending.popleft()).kind == "simple":
            ended = self._end(head, None if head.failed else head.rows, at)
            if ended is not None:
                yield ended

    def _end(self, pending: _Pending, rows: int | None, at: float) -> StatementEnded | None:
        began, self._last_end = max(pending.sent, self._last_end), at
        return StatementEnded(pending.sql, began, at, rows) if pending.sql.strip() else None

    def _drop_extended(self) -> None:
        while self._pending and self._pending[0].kind == "extended":
            self._pending.popleft()


def _rows(tag: bytes) -> int | None:
    """Return the rows of a CommandComplete ("INSERT 0 5", "UPDATE 3"), or None for commands without a number of rows."""
    parts = tag.rstrip(b"\0").split()
    return int(parts[-1]) if parts and parts[0] in COUNTED and parts[-1].isdigit() else None
