"""A proxy in front of a real cache. The test sets its latencies, so that a verdict does not depend on the machine.

Every response comes from the cache. The proxy delays each response until its latency has passed. Only the probe reads a
page many times a second; then the proxy repeats its last response for up to a second. So even on a slow machine, neither
the cache nor the service adds to the latency that was set.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

import httptools
import httpx

OFTEN = 10  # after this many requests for a page within a second, its response is repeated
MAX_AGE_S = 1.0  # maximum age of a repeated response
MAX_AGE_WHILE_FETCHING_S = (
    4.0  # maximum age while a new one is fetched; less than the time between two windows of a run
)
HOP_BY_HOP = (b"connection", b"keep-alive", b"transfer-encoding", b"content-length")  # RFC 9110, section 7.6.1

Latency = Callable[[str, bool], float]  # (target, visitor sends a cookie) -> milliseconds


def _none(target: str, signed_in: bool) -> float:
    return 0.0


@dataclass
class Answer:
    """A response as bytes, its latency, and the time of its fetch."""

    content: bytes
    latency_s: float
    fetched_at: float


@dataclass
class Request:
    """A request while it is read."""

    method: str = ""
    target: str = ""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    arrived: float = 0.0

    @property
    def cookie(self) -> bytes:
        return next((value for name, value in self.headers if name.lower() == b"cookie"), b"")


class LatencyProxy:
    """The proxy, in a thread. The test sets `upstream`, the URL of the cache, and `latency_ms`."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.upstream = ""
        self.latency_ms: Latency = _none
        self.answers: dict[tuple[str, bytes], Answer] = {}
        self.fetching: set[tuple[str, bytes]] = set()
        self.request_times: defaultdict[tuple[str, bytes], deque[float]] = defaultdict(lambda: deque(maxlen=OFTEN))
        self.connections: set[asyncio.Transport] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self._port = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="latency proxy")
        self._held: set[tuple[str, bool]] = set()
        self._ready, self._stopped = threading.Event(), asyncio.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    @contextmanager
    def hold(self, target: str, *, signed_in: bool) -> Iterator[None]:
        """Answer no request for a target within the block, so that nothing that waits for the page can end."""
        self._held.add((target, signed_in))
        try:
            yield
        finally:
            self._held.discard((target, signed_in))

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        async with httpx.AsyncHTTPTransport() as upstream:  # not a client: that would share cookies between visitors
            self._transport = upstream
            server = await self._loop.create_server(lambda: _Connection(self), "127.0.0.1", self._port)
            self._ready.set()
            await self._stopped.wait()
            server.close()
            for connection in tuple(self.connections):
                connection.abort()
            for task in tuple(self.tasks):
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)

    async def answer(self, request: Request) -> Answer:
        """Return the response to a request: a new one from the cache, or a repeated one."""
        while (request.target, bool(request.cookie)) in self._held:
            await asyncio.sleep(0.02)
        key = (request.target, request.cookie)
        now, request_times = time.monotonic(), self.request_times[key]
        request_times.append(now)
        often = request.method == "GET" and len(request_times) == OFTEN and now - request_times[0] < 1
        last = self.answers.get(key)
        if often and last and now - last.fetched_at < (MAX_AGE_WHILE_FETCHING_S if key in self.fetching else MAX_AGE_S):
            return last
        self.fetching.add(key)
        try:
            answer = await self._fetch(request)
        finally:
            self.fetching.discard(key)
        if request.method == "GET":
            self.answers[key] = answer
        return answer

    async def _fetch(self, request: Request) -> Answer:
        headers = [(name, value) for name, value in request.headers if name.lower() not in HOP_BY_HOP]
        url = httpx.URL(self.upstream).copy_with(raw_path=request.target.encode())
        extensions = {"timeout": {"connect": 60, "read": 60, "write": 60, "pool": 60}}
        upstream_request = httpx.Request(
            request.method, url, headers=headers, content=request.body, extensions=extensions
        )
        latency = asyncio.to_thread(self.latency_ms, request.target, bool(request.cookie))
        response, latency_ms = await asyncio.gather(self._transport.handle_async_request(upstream_request), latency)
        body = b"".join([part async for part in response.aiter_raw()])
        await response.aclose()
        headers_to_client = [(name, value) for name, value in response.headers.raw if name.lower() not in HOP_BY_HOP]
        if request.method != "HEAD":
            headers_to_client.append((b"Content-Length", str(len(body)).encode()))
        head = b"".join(b"%s: %s\r\n" % pair for pair in headers_to_client)
        status = f"HTTP/1.1 {response.status_code} {response.reason_phrase}\r\n".encode()
        return Answer(status + head + b"\r\n" + body, latency_ms / 1_000, time.monotonic())


class _Connection(asyncio.Protocol):
    """One connection of a client, which sends one request at a time."""

    def __init__(self, proxy: LatencyProxy) -> None:
        self.proxy = proxy

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.proxy.connections.add(transport)
        self.parser, self.request = httptools.HttpRequestParser(self), Request()

    def connection_lost(self, error: Exception | None) -> None:
        self.proxy.connections.discard(self.transport)

    def data_received(self, data: bytes) -> None:
        self.request.arrived = self.request.arrived or time.perf_counter()
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.request.target += url.decode("ascii")

    def on_header(self, name: bytes, value: bytes) -> None:
        self.request.headers.append((name, value))

    def on_body(self, body: bytes) -> None:
        self.request.body += body

    def on_message_complete(self) -> None:
        request, self.request = self.request, Request()
        request.method = self.parser.get_method().decode()
        task = asyncio.get_running_loop().create_task(self._answer(request, self.parser.should_keep_alive()))
        self.proxy.tasks.add(task)
        task.add_done_callback(self.proxy.tasks.discard)

    async def _answer(self, request: Request, keep_alive: bool) -> None:
        try:
            answer = await self.proxy.answer(request)
        except Exception:  # a test has killed the cache or a database
            self.transport.close()
            return
        delay = request.arrived + answer.latency_s - time.perf_counter()
        await asyncio.sleep(max(0.0, delay))
        self.transport.write(answer.content)
        if not keep_alive:
            self.transport.close()
