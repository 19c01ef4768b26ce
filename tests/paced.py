"""A proxy before a real cache. The test sets its latencies, so that a verdict does not depend on the machine.

Every answer comes from the cache. The proxy delays each answer until its latency has passed. Only the probe reads a page
many times a second; then the proxy repeats its last answer for up to a second. So even on a slow machine, neither the
cache nor the service adds to the latency that was set.
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

OFTEN = 10  # requests for a page within a second, from which on its answer is repeated
KEPT_S = 1.0  # how old a repeated answer may be
LONGEST_S = 4.0  # and while a new one is fetched; less than there is between two windows of a run
HOP_BY_HOP = (b"connection", b"keep-alive", b"transfer-encoding", b"content-length")  # RFC 9110, section 7.6.1

Latency = Callable[[str, bool], float]  # of a target, for a visitor who sends a cookie or not; in ms


def _none(target: str, signed_in: bool) -> float:
    return 0.0


@dataclass
class Answer:
    """An answer as bytes, how long it is held back, and when it was fetched."""

    content: bytes
    latency_s: float
    at: float


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


class Paced:
    """The front, in a thread. The test sets `upstream`, the URL of the cache, and `latency_ms`."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.upstream = ""
        self.latency_ms: Latency = _none
        self.known: dict[tuple[str, bytes], Answer] = {}
        self.asking: set[tuple[str, bytes]] = set()
        self.asked: defaultdict[tuple[str, bytes], deque[float]] = defaultdict(lambda: deque(maxlen=OFTEN))
        self.connections: set[asyncio.Transport] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self._port = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="paced front")
        self._held: set[tuple[str, bool]] = set()
        self._ready, self._over = threading.Event(), asyncio.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    @contextmanager
    def hold(self, target: str, *, signed_in: bool) -> Iterator[None]:
        """Answer no request for a target within the block, so that what waits for the page cannot end meanwhile."""
        self._held.add((target, signed_in))
        try:
            yield
        finally:
            self._held.discard((target, signed_in))

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        async with httpx.AsyncHTTPTransport() as upstream:  # no client: that would keep one visitor's cookies for all
            self._passing = upstream
            server = await self._loop.create_server(lambda: _Connection(self), "127.0.0.1", self._port)
            self._ready.set()
            await self._over.wait()
            server.close()
            for connection in tuple(self.connections):
                connection.abort()
            for task in tuple(self.tasks):
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)

    async def answer(self, request: Request) -> Answer:
        """The answer to a request, from the cache or repeated."""
        while (request.target, bool(request.cookie)) in self._held:
            await asyncio.sleep(0.02)
        key = (request.target, request.cookie)
        now, asked = time.monotonic(), self.asked[key]
        asked.append(now)
        often = request.method == "GET" and len(asked) == OFTEN and now - asked[0] < 1
        known = self.known.get(key)
        if often and known and now - known.at < (LONGEST_S if key in self.asking else KEPT_S):
            return known
        self.asking.add(key)
        try:
            found = await self._pass_on(request)
        finally:
            self.asking.discard(key)
        if request.method == "GET":
            self.known[key] = found
        return found

    async def _pass_on(self, request: Request) -> Answer:
        headers = [(name, value) for name, value in request.headers if name.lower() not in HOP_BY_HOP]
        url = httpx.URL(self.upstream).copy_with(raw_path=request.target.encode())
        extensions = {"timeout": {"connect": 60, "read": 60, "write": 60, "pool": 60}}
        passed = httpx.Request(request.method, url, headers=headers, content=request.body, extensions=extensions)
        latency = asyncio.to_thread(self.latency_ms, request.target, bool(request.cookie))
        answer, latency_ms = await asyncio.gather(self._passing.handle_async_request(passed), latency)
        body = b"".join([part async for part in answer.aiter_raw()])
        await answer.aclose()
        kept = [(name, value) for name, value in answer.headers.raw if name.lower() not in HOP_BY_HOP]
        if request.method != "HEAD":
            kept.append((b"Content-Length", str(len(body)).encode()))
        head = b"".join(b"%s: %s\r\n" % pair for pair in kept)
        status = f"HTTP/1.1 {answer.status_code} {answer.reason_phrase}\r\n".encode()
        return Answer(status + head + b"\r\n" + body, latency_ms / 1_000, time.monotonic())


class _Connection(asyncio.Protocol):
    """One connection of a client, which sends one request at a time."""

    def __init__(self, front: Paced) -> None:
        self.front = front

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.front.connections.add(transport)
        self.parser, self.request = httptools.HttpRequestParser(self), Request()

    def connection_lost(self, error: Exception | None) -> None:
        self.front.connections.discard(self.transport)

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
        self.front.tasks.add(task)
        task.add_done_callback(self.front.tasks.discard)

    async def _answer(self, request: Request, keep_alive: bool) -> None:
        try:
            answer = await self.front.answer(request)
        except Exception:  # a cache or a database that a test has killed
            self.transport.close()
            return
        rest = request.arrived + answer.latency_s - time.perf_counter()
        await asyncio.sleep(max(0.0, rest))
        self.transport.write(answer.content)
        if not keep_alive:
            self.transport.close()
