"""Test the HTTP client of the probe against a server with scripted responses."""

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
CLOSE = b""  # close the connection instead of a response
END = b"END"  # close the connection after the response, without waiting for another request


class Script:
    """A server that answers each connection with the next list of responses, and records the requests."""

    def __init__(self, *connections: list[bytes]) -> None:
        self.connections = list(connections)
        self.requests: list[bytes] = []
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
                self._serve_connection(connection, answers)

    def _serve_connection(self, connection: socket.socket, answers: list[bytes]) -> None:
        for answer in [*answers, CLOSE]:
            if answer == END:
                return
            head = b""
            while b"\r\n\r\n" not in head:
                part = connection.recv(65_536)
                if not part:
                    return
                head += part
            self.requests.append(head)
            if answer == CLOSE:
                return
            connection.sendall(answer)


def run_session(
    script: Script, session: Callable[[ConnectionPool], Awaitable[Any]], *cookies: Cookie, timeout_s: float = 120
) -> Any:
    """Run `session` with a connection pool to the server and return its result."""

    async def run() -> Any:
        trusted = ssl.create_default_context()
        pool = ConnectionPool(
            script.url, headers={"User-Agent": "test"}, cookies=cookies, timeout_s=timeout_s, trusted=trusted
        )
        try:
            return await session(pool)
        finally:
            await pool.close()

    with script.serving():
        return asyncio.run(run())


def test_request_has_headers_and_matching_cookies() -> None:
    """A request has Host, the headers and the cookies of its path only; a second request uses the same connection."""
    script = Script([OK, OK])

    async def session(pool: ConnectionPool) -> list[tuple[int, bytes]]:
        return [
            (answer.status, answer.body)
            for answer in (await pool.request("/a?b=%20"), await pool.request("/private/x"))
        ]

    cookies = (Cookie("here", "1", "/private"), Cookie("all", "2", "/"), Cookie("other", "3", "/priv"))
    assert run_session(script, session, *cookies) == [(200, b"ok"), (200, b"ok")]
    host = script.url.removeprefix("http://").encode()
    lines = b"Host: " + host + b"\r\nAccept: */*\r\nUser-Agent: test\r\nAccept-Encoding: gzip, deflate\r\nCookie: "
    assert script.requests == [
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
def test_response_ends_by_length_chunks_or_status(answer: bytes, status: int, body: bytes) -> None:
    """Length, chunks or status decide where a response ends; the connection then carries the next one."""
    script = Script([answer, OK])

    async def session(pool: ConnectionPool) -> list[tuple[int, bytes]]:
        return [(response.status, response.body) for response in (await pool.request("/"), await pool.request("/"))]

    assert run_session(script, session) == [(status, body), (200, b"ok")]


def test_response_without_length_ends_with_the_connection() -> None:
    """A response without a length ends with the connection; the next request uses a new connection."""
    script = Script([b"HTTP/1.1 200 OK\r\nX-A: 1\r\nX-A: 2\r\n\r\nhalf", END], [OK])

    async def session(pool: ConnectionPool) -> Any:
        return await pool.request("/1"), (await pool.request("/2")).body

    first, second = run_session(script, session)
    assert (first.body, first.headers["x-a"], second) == (b"half", "1, 2", b"ok")


def test_request_on_a_closed_warm_connection_is_sent_again() -> None:
    """A request on a closed warm connection is sent again on a new one; an answered request is never sent again."""
    script = Script([OK, CLOSE], [OK])

    async def session(pool: ConnectionPool) -> list[int]:
        return [(await pool.request("/1")).status, (await pool.request("/2")).status]

    assert run_session(script, session) == [200, 200]
    assert [requests.split(b" ")[1] for requests in script.requests] == [b"/1", b"/2", b"/2"]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (CLOSE, "The connection broke before the response was complete."),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", "The connection broke before the response was complete."),
        (b"garbage\r\n\r\n", "The response is not valid HTTP"),
    ],
)
def test_broken_or_invalid_response_is_an_error(answer: bytes, error: str) -> None:
    """A connection that breaks or does not send HTTP gives an error and is not used again."""
    script = Script([answer, END], [OK])

    async def session(pool: ConnectionPool) -> tuple[str, int]:
        with pytest.raises(ConnectionError) as failed:
            await pool.request("/")
        return str(failed.value), (await pool.request("/")).status

    message, status = run_session(script, session)
    assert message.startswith(error) and status == 200


def test_late_response_is_a_timeout() -> None:
    """A late response is a timeout and is not taken for the response to the next request."""
    script = Script([OK, b"HTTP/1.1 200 OK\r\n"], [OK])

    async def session(pool: ConnectionPool) -> bytes:
        await pool.request("/warm")
        timeout_s, pool._timeout_s = pool._timeout_s, 0.3
        with pytest.raises(TimeoutError):
            await pool.request("/slow")
        pool._timeout_s = timeout_s
        return (await pool.request("/")).body

    assert run_session(script, session) == b"ok"


def test_stored_cookies_replace_and_remove_earlier_ones() -> None:
    """Stored cookies of a response replace or remove earlier ones."""
    setting = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: a=2; Path=/\r\nSet-Cookie: b=; Max-Age=0\r\n\r\n"
    script = Script([setting, OK])

    async def session(pool: ConnectionPool) -> None:
        pool.store_cookies((await pool.request("/")).set_cookies)
        pool.store_cookies(["no cookie at all", "\x00=;;"])
        await pool.request("/")

    run_session(script, session, Cookie("a", "1", "/"), Cookie("b", "1", "/"))
    assert [requests.partition(b"Cookie: ")[2].strip() for requests in script.requests] == [b"a=1; b=1", b"a=2"]


def test_refused_connection_is_an_error() -> None:
    """The error is the refused connection."""
    script = Script()

    async def session(pool: ConnectionPool) -> None:
        with pytest.raises(ConnectionRefusedError):
            await pool.request("/")

    script.url = "http://127.0.0.1:9"
    run_session(script, session)


def test_close_fails_pending_requests() -> None:
    """Closing the pool fails the pending request and closes its connection."""
    script = Script([OK, b"HTTP/1.1 200 OK\r\n"])

    async def session(pool: ConnectionPool) -> asyncio.Future[Any]:
        await pool.request("/")
        waiting = pool.request("/never")
        while len(script.requests) < 2:
            await asyncio.sleep(0.01)
        return waiting

    waiting = run_session(script, session)
    assert isinstance(waiting.exception(), ConnectionResetError)


def test_header_with_two_lines_is_rejected() -> None:
    """A header with two lines is rejected, and the error does not contain its value, which may be a secret."""
    with pytest.raises(ValueError, match="'X-Token'") as refused:
        ConnectionPool(
            "http://127.0.0.1:9",
            headers={"X-Token": "s3cret\r\nHost: x"},
            cookies=(),
            timeout_s=1,
            trusted=ssl.create_default_context(),
        )
    assert "s3cret" not in str(refused.value)
