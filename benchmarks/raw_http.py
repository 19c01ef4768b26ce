"""HTTP over one plain socket that stays open: next to nothing of its own beside what is measured."""

from __future__ import annotations

import json
import socket
import time
from typing import Any
from urllib.parse import urlsplit

IDLE_S = 3.0  # the server hangs up after five seconds
WITHIN_S = 60.0


class Wire:
    """One connection to one server, for one thread."""

    def __init__(self, url: str, token: str = "") -> None:
        where = urlsplit(url)
        self._where = (str(where.hostname), int(where.port or 80))
        authorization = f"Authorization: Bearer {token}\r\n" if token else ""
        self._head = f" HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Type: application/json\r\n{authorization}"
        self._socket: socket.socket | None = None
        self._used = 0.0

    def timed(self, method: str, path: str, body: Any = None) -> float:
        """Milliseconds of one good answer."""
        request, connection = self._request(method, path, body, {}), self._connection()
        began = time.perf_counter()
        status, _ = _exchange(connection, request)
        took = (time.perf_counter() - began) * 1_000
        if status >= 300:
            raise RuntimeError(f"{method} {path} was answered {status}")
        return took

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """Status and JSON."""
        status, answer = _exchange(self._connection(), self._request(method, path, body, headers or {}))
        return status, json.loads(answer)

    def get(self, path: str) -> Any:
        """The JSON of a good answer."""
        status, answer = self.ask("GET", path)
        if status != 200:
            raise RuntimeError(f"{path} was answered {status}: {str(answer)[:500]}")
        return answer

    def _request(self, method: str, path: str, body: Any, headers: dict[str, str]) -> bytes:
        content = b"" if body is None else json.dumps(body).encode()
        more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"{method} {path}{self._head}{more}Content-Length: {len(content)}\r\n\r\n".encode() + content

    def _connection(self) -> socket.socket:
        if self._socket is None or time.monotonic() - self._used > IDLE_S:
            if self._socket is not None:
                self._socket.close()
            self._socket = socket.create_connection(self._where, timeout=WITHIN_S)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._used = time.monotonic()
        return self._socket


def _exchange(connection: socket.socket, request: bytes) -> tuple[int, bytes]:
    """Send a request, and read its answer, which tells its length."""
    connection.sendall(request)
    got = b""
    while (end := got.find(b"\r\n\r\n")) < 0:
        got += _some(connection)
    head = got[:end].lower()
    length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
    parts, left = [got[end + 4 :]], length - (len(got) - end - 4)
    while left > 0:
        parts.append(_some(connection))
        left -= len(parts[-1])
    return int(head[9:12]), b"".join(parts)


def _some(connection: socket.socket) -> bytes:
    data = connection.recv(262_144)
    if not data:
        raise ConnectionError("the server hung up")
    return data
