"""HTTP/1.1 for timing: warm connections, and as little as possible between a request's due time and its bytes.

httpx and aiohttp do more for a request than a probe needs, and what they do is counted as the service's. Here a request is
bytes that were made before, an answer is parsed by llhttp, and its end is noted in the callback that saw its last byte.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping, Sequence
from http.cookies import CookieError, SimpleCookie
from typing import NamedTuple, cast
from urllib.parse import urlsplit

import httptools

DEFAULT_PORTS = {"http": 80, "https": 443}


class Cookie(NamedTuple):
    """One cookie of the service; below its path it is sent along."""

    name: str
    value: str
    path: str


class Answer(NamedTuple):
    """One answer, read whole; `arrived` is when its last byte was seen, by `time.perf_counter`."""

    status: int
    headers: Mapping[str, str]  # names in lower case; several of one name are joined by commas
    set_cookies: tuple[str, ...]
    body: bytes
    arrived: float


class ConnectionPool:
    """The connections of one identity to one service. Each carries one request at a time, and as many open as are needed."""

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        cookies: Sequence[Cookie],
        timeout_s: float,
        trusted: ssl.SSLContext,
    ) -> None:
        address = urlsplit(url)
        self._host, self._port = address.hostname or "", address.port or DEFAULT_PORTS[address.scheme]
        self._trusted = trusted if address.scheme == "https" else None
        self._prefix = address.path.rstrip("/")
        self._lines = _lines({"Host": address.netloc.rpartition("@")[2], "Accept": "*/*", **headers})
        self._timeout_s = timeout_s
        self._cookies = {(cookie.name, cookie.path): cookie for cookie in cookies}
        self._requests: dict[tuple[str, str], bytes] = {}
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._closing = False

    def ask(self, target: str, encodings: str = "gzip, deflate") -> asyncio.Future[Answer]:
        """Send a GET at once, on a warm connection where one is free.

        The future is the answer; or TimeoutError, or OSError for a connection that cannot be made, breaks, or carries what
        is no HTTP.
        """
        loop = asyncio.get_running_loop()
        asked = _Asked(self._request(target, encodings), loop.create_future())
        timer = loop.call_later(self._timeout_s, asked.fail, TimeoutError())
        asked.answered.add_done_callback(lambda _: timer.cancel())
        if self._idle:
            self._idle.pop().carry(asked)
        else:
            self._carry_anew(asked)
        return asked.answered

    async def close(self) -> None:
        """Close every connection; requests under way fail."""
        self._closing = True
        for task in tuple(self._connecting):
            task.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)
        lost = [connection.drop() for connection in tuple(self._open)]
        await asyncio.gather(*lost)

    def made(self, connection: _Connection) -> None:
        """A connection is open."""
        self._open.add(connection)

    def free(self, connection: _Connection) -> None:
        """A connection has brought a whole answer and can carry the next request."""
        self._idle.append(connection)

    def gone(self, connection: _Connection, asked: _Asked | None) -> None:
        """A connection is lost. A request that a warm one lost before any answer is sent once more, as browsers do."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if asked is not None and not asked.answered.done():
            if connection.carried > 1 and not connection.heard and not self._closing:
                self._carry_anew(asked)
            else:
                asked.fail(ConnectionResetError("the connection broke before the answer was whole"))

    def keep(self, told: Sequence[str]) -> None:
        """Go on with the cookies that an answer sets, as any client would."""
        for line in told:
            try:
                found = SimpleCookie(line)
            except CookieError:
                continue
            for name, morsel in found.items():
                path = morsel["path"] or "/"
                self._cookies[name, path] = Cookie(name, morsel.coded_value, path)
                if morsel["max-age"] == "0" or not morsel.coded_value:
                    del self._cookies[name, path]
                self._requests.clear()

    def _carry_anew(self, asked: _Asked) -> None:
        task = asyncio.get_running_loop().create_task(self._connect(asked))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, asked: _Asked) -> None:
        loop = asyncio.get_running_loop()
        name = self._host if self._trusted else None
        try:
            async with asyncio.timeout(self._timeout_s):
                _, connection = await loop.create_connection(
                    lambda: _Connection(self), self._host, self._port, ssl=self._trusted, server_hostname=name
                )
        except (OSError, TimeoutError) as error:
            asked.fail(error)
            return
        if asked.answered.done():
            self._idle.append(connection)
        else:
            connection.carry(asked)

    def _request(self, target: str, encodings: str) -> bytes:
        known = self._requests.get((target, encodings))
        if known is None:
            cookies = "; ".join(f"{one.name}={one.value}" for one in self._cookies.values() if _below(target, one.path))
            more = _lines({"Accept-Encoding": encodings} | ({"Cookie": cookies} if cookies else {}))
            known = f"GET {self._prefix}{target} HTTP/1.1\r\n{self._lines}{more}\r\n".encode()
            self._requests[target, encodings] = known
        return known


class _Asked:
    """A request under way."""

    __slots__ = ("answered", "request")

    def __init__(self, request: bytes, answered: asyncio.Future[Answer]) -> None:
        self.request, self.answered = request, answered

    def fail(self, error: BaseException) -> None:
        if not self.answered.done():
            self.answered.set_exception(error)


class _Connection(asyncio.Protocol):
    """One connection: writes a request, and notes the moment at which its answer is whole."""

    def __init__(self, wire: ConnectionPool) -> None:
        self.wire = wire
        self.carried = 0
        self.heard = False  # a byte of the present answer
        self._asked: _Asked | None = None
        self._transport: asyncio.Transport | None = None
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._head: list[tuple[str, str]] = []
        self._body: list[bytes] = []
        self._until_closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own is no subclass
        self.wire.made(self)

    def carry(self, asked: _Asked) -> None:
        """Send a request; its answer comes by itself."""
        assert self._transport is not None
        self.carried += 1
        self.heard, self._asked = False, asked
        self._head, self._body, self._until_closed = [], [], False
        asked.answered.add_done_callback(self._give_up)
        self._transport.write(asked.request)

    def drop(self) -> asyncio.Future[None]:
        """Close at once; the future is done when it is closed."""
        assert self._transport is not None
        self._transport.abort()
        return self._lost

    def data_received(self, data: bytes) -> None:
        self.heard = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            if self._asked is not None:
                self._asked.fail(ConnectionError(f"what came is no HTTP: {type(error).__name__}"))
            self.drop()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        names = {name for name, _ in self._head}
        self._until_closed = not names & {"content-length", "transfer-encoding"}

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        arrived = time.perf_counter()
        if self._parser.get_status_code() < 200:  # an early hint; the answer itself is still to come
            self._head.clear()
            return
        self._answer(arrived)
        if self._parser.should_keep_alive():
            self.wire.free(self)
        else:
            self.drop()

    def connection_lost(self, error: Exception | None) -> None:
        if error is None and self._asked is not None and self.heard and self._until_closed:
            self._answer(time.perf_counter())  # its end is the end of the connection
        self.wire.gone(self, self._asked)
        self._asked = None
        self._lost.set_result(None)

    def _answer(self, arrived: float) -> None:
        asked, self._asked = self._asked, None
        if asked is None or asked.answered.done():
            return
        headers: dict[str, str] = {}
        for name, value in self._head:
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        cookies = tuple(value for name, value in self._head if name == "set-cookie")
        asked.answered.set_result(
            Answer(self._parser.get_status_code(), headers, cookies, b"".join(self._body), arrived)
        )

    def _give_up(self, answered: asyncio.Future[Answer]) -> None:
        """Who asked waits no longer: what may still come would be taken for the next answer."""
        if self._asked is not None and self._asked.answered is answered:
            self._asked = None
            self.drop()


def _lines(headers: Mapping[str, str]) -> str:
    for name, value in headers.items():
        if set(f"{name}{value}") & set("\r\n\0"):
            raise ValueError(f"The header {name!r} is more than one line.")  # its value may be a secret
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())


def _below(target: str, path: str) -> bool:
    """Whether a cookie of `path` goes along (RFC 6265, section 5.1.4)."""
    asked = target.partition("?")[0]
    return asked == path or asked.startswith(path if path.endswith("/") else path + "/")
