"""Reading PostgreSQL's protocol: however the bytes are cut, the same statements."""

from __future__ import annotations

import struct

import pytest

from slipway.adapters.databases.wire import Conversation, Ended, Ready


def message(kind: str, body: bytes = b"") -> bytes:
    """One message."""
    return kind.encode() + struct.pack("!I", len(body) + 4) + body


def parse(name: bytes, sql: bytes) -> bytes:
    """A Parse without types."""
    return message("P", name + b"\0" + sql + b"\0\0\0")


def bind(portal: bytes, name: bytes) -> bytes:
    """A Bind without values."""
    return message("B", portal + b"\0" + name + b"\0" + bytes(6))


ASKED = (
    message("Q", b"BEGIN; UPDATE a SET b = ';'; DELETE FROM a\0")
    + parse(b"s", b"SELECT $1")
    + bind(b"", b"s")
    + message("E", bytes(5))
    + bind(b"", b"s")
    + message("E", bytes(5))
    + message("S")
    + message("Q", b"COMMIT\0")
)
ANSWERED = (
    message("K", struct.pack("!II", 42, 7))
    + message("C", b"BEGIN\0")
    + message("C", b"UPDATE 3\0")
    + message("C", b"DELETE 2\0")
    + message("Z", b"T")
    + message("1")
    + message("2")
    + message("D", bytes(70_000))
    + message("C", b"SELECT 1\0")
    + message("E", b"SERROR\0\0")
    + message("Z", b"E")
    + message("C", b"ROLLBACK\0")
    + message("Z", b"I")
)


@pytest.mark.parametrize("size", [1, 3, 7, 1_000, 1_000_000])
def test_however_the_bytes_are_cut(size: int) -> None:
    """A simple query of several statements, a pipeline, an error that ends it, and where a transaction is open."""
    conversation = Conversation()
    for at in range(0, len(ASKED), size):
        conversation.asked(ASKED[at : at + size], 1.0)
    told = []
    for at in range(0, len(ANSWERED), size):
        told += conversation.answered(ANSWERED[at : at + size], 2.0)
    assert conversation.pid == 42
    assert [(event.sql, event.rows) if isinstance(event, Ended) else event.open for event in told] == [
        ("BEGIN; UPDATE a SET b = ';'; DELETE FROM a", 5),
        True,
        ("SELECT $1", 1),
        ("SELECT $1", None),
        True,
        ("COMMIT", None),
        False,
    ]
    assert conversation.running() is None


def test_what_runs_and_since_when() -> None:
    """A statement runs from when it was sent, or from the end of the one before it."""
    conversation = Conversation()
    sent = parse(b"", b"SELECT 1") + bind(b"", b"") + message("E", bytes(5)) + message("E", bytes(5)) + message("S")
    conversation.asked(sent, 1.0)
    assert conversation.running() == ("SELECT 1", 1.0)
    [ended] = conversation.answered(message("C", b"SELECT 3\0"), 4.0)
    assert ended == Ended("SELECT 1", 1.0, 4.0, 3)
    assert conversation.running() == ("SELECT 1", 4.0)
    *_, ready = conversation.answered(message("C", b"SELECT 3\0") + message("Z", b"I"), 6.0)
    assert ready == Ready(open=False, at=6.0)
    conversation.asked(message("Q", b"\0"), 7.0)
    assert list(conversation.answered(message("I") + message("Z", b"I"), 8.0)) == [Ready(open=False, at=8.0)]
