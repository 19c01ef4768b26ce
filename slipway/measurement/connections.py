"""HTTP/1.1 for timing: warm connections, and as little work as possible between the due time of a request and its bytes.

httpx and aiohttp do more work per request than a probe needs, and this work would count as latency of the service. Here the
bytes of a request are prepared in advance, llhttp parses the response, and the callback that receives the last byte notes
the time.
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
    """One cookie of the service; it is sent with requests below its path."""

    name: str
    value: str
    path: str


class Response(NamedTuple):
    """One complete response; `arrived` is the time of its last byte, by `time.perf_counter`."""

    status: int
    headers: Mapping[str, str]  # names in lower case; repeated headers are joined by commas
    set_cookies: tuple[str, ...]
    body: bytes
    arrived: float


class ConnectionPool:
    """The connections of one identity to one service: as many as needed, each with one request at a time."""

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
        self._header_lines = _format_headers({"Host": address.netloc.rpartition("@")[2], "Accept": "*/*", **headers})
        self._timeout_s = timeout_s
        self._cookies = {(cookie.name, cookie.path): cookie for cookie in cookies}
        self._requests: dict[tuple[str, str], bytes] = {}
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._closing = False

    def request(self, target: str, encodings: str = "gzip, deflate") -> asyncio.Future[Response]:
        """Send a GET at once, on a warm connection if one is idle.

        The future returns the response. It raises TimeoutError, or OSError if the connection cannot be opened, breaks, or
        carries no valid HTTP.
        """
        loop = asyncio.get_running_loop()
        pending = _PendingRequest(self._request(target, encodings), loop.create_future())
        timer = loop.call_later(self._timeout_s, pending.fail, TimeoutError())
        pending.future.add_done_callback(lambda _: timer.cancel())
        if self._idle:
            self._idle.pop().send(pending)
        else:
            self._send_on_new_connection(pending)
        return pending.future

    async def close(self) -> None:
        """Close every connection; pending requests fail."""
        self._closing = True
        for task in tuple(self._connecting):
            task.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)
        closing = [connection.abort() for connection in tuple(self._open)]
        await asyncio.gather(*closing)

    def connection_opened(self, connection: _Connection) -> None:
        """Register an open connection."""
        self._open.add(connection)

    def connection_idle(self, connection: _Connection) -> None:
        """Register a connection that has received a complete response and can send the next request."""
        self._idle.append(connection)

    def connection_gone(self, connection: _Connection, pending: _PendingRequest | None) -> None:
        """Remove a lost connection. Send a request that a warm connection lost before any response again, as browsers do."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if pending is not None and not pending.future.done():
            if connection.sent > 1 and not connection.received and not self._closing:
                self._send_on_new_connection(pending)
            else:
                pending.fail(ConnectionResetError("The connection broke before the response was complete."))

    def store_cookies(self, set_cookie_headers: Sequence[str]) -> None:
        """Store the cookies that a response sets, as any client does, for the next requests."""
        for line in set_cookie_headers:
            try:
                cookies = SimpleCookie(line)
            except CookieError:
                continue
            for name, morsel in cookies.items():
                path = morsel["path"] or "/"
                self._cookies[name, path] = Cookie(name, morsel.coded_value, path)
                if morsel["max-age"] == "0" or not morsel.coded_value:
                    del self._cookies[name, path]
                self._requests.clear()

    def _send_on_new_connection(self, pending: _PendingRequest) -> None:
        task = asyncio.get_running_loop().create_task(self._connect(pending))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, pending: _PendingRequest) -> None:
        loop = asyncio.get_running_loop()
        name = self._host if self._trusted else None
        try:
            async with asyncio.timeout(self._timeout_s):
                _, connection = await loop.create_connection(
                    lambda: _Connection(self), self._host, self._port, ssl=self._trusted, server_hostname=name
                )
        except (OSError, TimeoutError) as error:
            pending.fail(error)
            return
        if pending.future.done():
            self._idle.append(connection)
        else:
            connection.send(pending)

    def _request(self, target: str, encodings: str) -> bytes:
        request_bytes = self._requests.get((target, encodings))
        if request_bytes is None:
            cookies = "; ".join(
                f"{cookie.name}={cookie.value}"
                for cookie in self._cookies.values()
                if _path_matches(target, cookie.path)
            )
            more = _format_headers({"Accept-Encoding": encodings} | ({"Cookie": cookies} if cookies else {}))
            request_bytes = f"GET {self._prefix}{target} HTTP/1.1\r\n{self._header_lines}{more}\r\n".encode()
            self._requests[target, encodings] = request_bytes
        return request_bytes


class _PendingRequest:
    """A request without a response yet."""

    __slots__ = ("future", "request")

    def __init__(self, request: bytes, future: asyncio.Future[Response]) -> None:
        self.request, self.future = request, future

    def fail(self, error: BaseException) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class _Connection(asyncio.Protocol):
    """One connection: sends a request and notes the time at which its response is complete."""

    def __init__(self, pool: ConnectionPool) -> None:
        self.pool = pool
        self.sent = 0
        self.received = False  # at least one byte of the current response
        self._pending: _PendingRequest | None = None
        self._transport: asyncio.Transport | None = None
        self._closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._head: list[tuple[str, str]] = []
        self._body: list[bytes] = []
        self._until_closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # the transport of uvloop is no subclass
        self.pool.connection_opened(self)

    def send(self, pending: _PendingRequest) -> None:
        """Send a request; its future receives the response."""
        assert self._transport is not None
        self.sent += 1
        self.received, self._pending = False, pending
        self._head, self._body, self._until_closed = [], [], False
        pending.future.add_done_callback(self._abort_if_abandoned)
        self._transport.write(pending.request)

    def abort(self) -> asyncio.Future[None]:
        """Close the connection at once; the future is done when it is closed."""
        assert self._transport is not None
        self._transport.abort()
        return self._closed

    def data_received(self, data: bytes) -> None:
        self.received = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            if self._pending is not None:
                self._pending.fail(ConnectionError(f"The response is not valid HTTP: {type(error).__name__}."))
            self.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        names = {name for name, _ in self._head}
        self._until_closed = not names & {"content-length", "transfer-encoding"}

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        arrived = time.perf_counter()
        if self._parser.get_status_code() < 200:  # an early hint; the response itself follows
            self._head.clear()
            return
        self._finish(arrived)
        if self._parser.should_keep_alive():
            self.pool.connection_idle(self)
        else:
            self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        if error is None and self._pending is not None and self.received and self._until_closed:
            self._finish(time.perf_counter())  # the end of the connection ends this response
        self.pool.connection_gone(self, self._pending)
        self._pending = None
        self._closed.set_result(None)

    def _finish(self, arrived: float) -> None:
        pending, self._pending = self._pending, None
        if pending is None or pending.future.done():
            return
        headers: dict[str, str] = {}
        for name, value in self._head:
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        cookies = tuple(value for name, value in self._head if name == "set-cookie")
        pending.future.set_result(
            Response(self._parser.get_status_code(), headers, cookies, b"".join(self._body), arrived)
        )

    def _abort_if_abandoned(self, future: asyncio.Future[Response]) -> None:
        """Abort if the caller no longer waits: a late response would be taken for the response to the next request."""
        if self._pending is not None and self._pending.future is future:
            self._pending = None
            self.abort()


def _format_headers(headers: Mapping[str, str]) -> str:
    for name, value in headers.items():
        if set(f"{name}{value}") & set("\r\n\0"):
            raise ValueError(f"The header {name!r} has more than one line.")  # without the value, which may be a secret
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())


def _path_matches(target: str, path: str) -> bool:
    """Return whether a cookie of `path` is sent with a request to `target` (RFC 6265, section 5.1.4)."""
    target_path = target.partition("?")[0]
    return target_path == path or target_path.startswith(path if path.endswith("/") else path + "/")
