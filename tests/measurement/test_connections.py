"""The client of the probe against a server that says exactly what each test wants it to."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from typing import Any

import pytest

from slipway.measurement.connections import ConnectionPool, Cookie

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CLOSE = b""  # said instead of an answer: the connection ends
END = b"END"  # the connection ends behind the answer, without waiting for another request


class Script:
    """A server that answers every connection with the next answers of a list, and keeps what it was asked."""

    def __init__(self, *connections: list[bytes]) -> None:
        self.connections = list(connections)
        self.asked: list[bytes] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    @contextmanager
    def serving(self) -> Iterator[Script]:
        thread = Thread(target=self._serve)
        thread.start()
        try:
            yield self
        finally:
            self._listening.shutdown(socket.SHUT_RDWR)
            self._listening.close()
            thread.join()

    def _serve(self) -> None:
        for answers in self.connections:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection, suppress(ConnectionError):  # the client may be gone
                self._talk(connection, answers)

    def _talk(self, connection: socket.socket, answers: list[bytes]) -> None:
        for answer in [*answers, CLOSE]:
            if answer == END:
                return
            head = b""
            while b"\r\n\r\n" not in head:
                part = connection.recv(65_536)
                if not part:
                    return
                head += part
            self.asked.append(head)
            if answer == CLOSE:
                return
            connection.sendall(answer)


def talk(
    script: Script, say: Callable[[ConnectionPool], Awaitable[Any]], *cookies: Cookie, timeout_s: float = 120
) -> Any:
    """What comes of a conversation."""

    async def main() -> Any:
        trusted = ssl.create_default_context()
        wire = ConnectionPool(
            script.url, headers={"User-Agent": "test"}, cookies=cookies, timeout_s=timeout_s, trusted=trusted
        )
        try:
            return await say(wire)
        finally:
            await wire.close()

    with script.serving():
        return asyncio.run(main())


def test_a_request_as_it_is_sent() -> None:
    """Host, headers and the cookies of its path, and nothing else; a second one goes over the same connection."""
    script = Script([OK, OK])

    async def say(wire: ConnectionPool) -> list[tuple[int, bytes]]:
        return [(answer.status, answer.body) for answer in (await wire.ask("/a?b=%20"), await wire.ask("/private/x"))]

    cookies = (Cookie("here", "1", "/private"), Cookie("all", "2", "/"), Cookie("other", "3", "/priv"))
    assert talk(script, say, *cookies) == [(200, b"ok"), (200, b"ok")]
    host = script.url.removeprefix("http://").encode()
    lines = b"Host: " + host + b"\r\nAccept: */*\r\nUser-Agent: test\r\nAccept-Encoding: gzip, deflate\r\nCookie: "
    assert script.asked == [
        b"GET /a?b=%20 HTTP/1.1\r\n" + lines + b"all=2\r\n\r\n",
        b"GET /private/x HTTP/1.1\r\n" + lines + b"here=1; all=2\r\n\r\n",
    ]


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n1\r\n!\r\n0\r\n\r\n", 200, b"ok!"),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK, 200, b"ok"),
        (b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", 304, b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 200 OK\r\nUpgrade: h2\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\nok", 200, b"ok"),
    ],
)
def test_an_answer_is_whole_where_its_head_says(answer: bytes, status: int, body: bytes) -> None:
    """Its length, its chunks, or no body at all; the connection then carries the next."""
    script = Script([answer, OK])

    async def say(wire: ConnectionPool) -> list[tuple[int, bytes]]:
        return [(found.status, found.body) for found in (await wire.ask("/"), await wire.ask("/"))]

    assert talk(script, say) == [(status, body), (200, b"ok")]


def test_an_answer_that_ends_with_its_connection() -> None:
    """Without a length the end of the connection is the end of the answer; the next request gets a new one."""
    script = Script([b"HTTP/1.1 200 OK\r\nX-A: 1\r\nX-A: 2\r\n\r\nhalf", END], [OK])

    async def say(wire: ConnectionPool) -> Any:
        return await wire.ask("/1"), (await wire.ask("/2")).body

    first, second = talk(script, say)
    assert (first.body, first.headers["x-a"], second) == (b"half", "1, 2", b"ok")


def test_a_warm_connection_that_the_server_has_closed() -> None:
    """The request goes out once more on a new one, as any client does; nobody was asked twice that answered."""
    script = Script([OK, CLOSE], [OK])

    async def say(wire: ConnectionPool) -> list[int]:
        return [(await wire.ask("/1")).status, (await wire.ask("/2")).status]

    assert talk(script, say) == [200, 200]
    assert [asked.split(b" ")[1] for asked in script.asked] == [b"/1", b"/2", b"/2"]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (CLOSE, "the connection broke before the answer was whole"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", "the connection broke before the answer was whole"),
        (b"garbage\r\n\r\n", "what came is no HTTP"),
    ],
)
def test_an_answer_that_is_none(answer: bytes, error: str) -> None:
    """A connection that breaks at once, in the middle, or says something else is an error, and is not used again."""
    script = Script([answer, END], [OK])

    async def say(wire: ConnectionPool) -> tuple[str, int]:
        with pytest.raises(ConnectionError) as failed:
            await wire.ask("/")
        return str(failed.value), (await wire.ask("/")).status

    told, status = talk(script, say)
    assert told.startswith(error) and status == 200


def test_an_answer_that_comes_too_late() -> None:
    """It is a time-out, and what still comes is not taken for the next answer."""
    script = Script([OK, b"HTTP/1.1 200 OK\r\n"], [OK])

    async def say(wire: ConnectionPool) -> bytes:
        await wire.ask("/warm")
        patience, wire._timeout_s = wire._timeout_s, 0.3
        with pytest.raises(TimeoutError):
            await wire.ask("/slow")
        wire._timeout_s = patience
        return (await wire.ask("/")).body

    assert talk(script, say) == b"ok"


def test_cookies_that_answers_set() -> None:
    """They replace and remove what was there, when whoever timed the answer says so."""
    setting = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: a=2; Path=/\r\nSet-Cookie: b=; Max-Age=0\r\n\r\n"
    script = Script([setting, OK])

    async def say(wire: ConnectionPool) -> None:
        wire.keep((await wire.ask("/")).set_cookies)
        wire.keep(["no cookie at all", "\x00=;;"])
        await wire.ask("/")

    talk(script, say, Cookie("a", "1", "/"), Cookie("b", "1", "/"))
    assert [asked.partition(b"Cookie: ")[2].strip() for asked in script.asked] == [b"a=1; b=1", b"a=2"]


def test_nobody_listens() -> None:
    """The refusal of the connection is the error."""
    script = Script()

    async def say(wire: ConnectionPool) -> None:
        with pytest.raises(ConnectionRefusedError):
            await wire.ask("/")

    script.url = "http://127.0.0.1:9"
    talk(script, say)


def test_closed_while_it_waits() -> None:
    """Whoever waits is told, and the connection is closed."""
    script = Script([OK, b"HTTP/1.1 200 OK\r\n"])

    async def say(wire: ConnectionPool) -> asyncio.Future[Any]:
        await wire.ask("/")
        waiting = wire.ask("/never")
        while len(script.asked) < 2:
            await asyncio.sleep(0.01)
        return waiting

    waiting = talk(script, say)
    assert isinstance(waiting.exception(), ConnectionResetError)


def test_a_header_of_two_lines_is_refused() -> None:
    """Its value may be a secret, and is not told."""
    with pytest.raises(ValueError, match="'X-Token'") as refused:
        ConnectionPool(
            "http://127.0.0.1:9",
            headers={"X-Token": "s3cret\r\nHost: x"},
            cookies=(),
            timeout_s=1,
            trusted=ssl.create_default_context(),
        )
    assert "s3cret" not in str(refused.value)
