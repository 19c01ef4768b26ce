"""A relay on 127.0.0.1 between a client and PostgreSQL that forwards every byte and reads which statements run."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from slipway.databases.postgresql.protocol import (
    CANCEL_REQUEST,
    ENCRYPTION_REQUESTS,
    ProtocolSession,
    ReadyForQuery,
    StatementEnded,
)

HOST = "127.0.0.1"
CHUNK = 65_536
CONNECT_TIMEOUT_S = 10
JOIN_S = 5


@dataclass
class RelayedSession:
    """One session that the relay reads; `mutex` guards `protocol`."""

    protocol: ProtocolSession = field(default_factory=ProtocolSession)
    mutex: threading.Lock = field(default_factory=threading.Lock)
    last: StatementEnded | None = None
    sampled: set[str] = field(default_factory=set)  # texts of this transaction whose locks were sampled
    unreadable: bool = False


class Relay:
    """Listens from `start` to `stop`. Calls `on_event` before the server's response reaches the client.

    For a server on this machine, the relay declines encryption in the server's place, so that sessions are readable. For a
    remote server, client and server decide. The relay forwards encrypted sessions without reading them.
    """

    def __init__(
        self, address: str, port: int, on_event: Callable[[RelayedSession, StatementEnded | ReadyForQuery], None]
    ) -> None:
        self.sessions: list[RelayedSession] = []
        self.unread_reason = ""  # why a session was not read
        self._upstream = address, port
        self._plain = address.startswith("/") or ipaddress.ip_address(address).is_loopback
        self._on_event = on_event
        self._listener = socket.create_server((HOST, 0))
        self._clients: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._stopped = False

    @property
    def port(self) -> int:
        """Return the port on 127.0.0.1."""
        return int(self._listener.getsockname()[1])

    def start(self) -> None:
        """Start to accept connections."""
        self._run(self._accept)

    def stop(self) -> None:
        """Close every connection and wait for the threads."""
        self._stopped = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # unblocks accept()
        self._listener.close()
        for client in self._clients:
            _shut_down(client)
        for thread in list(self._threads):
            thread.join(JOIN_S)

    def _run(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stopped:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._clients = [open_client for open_client in self._clients if open_client.fileno() >= 0] + [client]
            self._run(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with client:
            try:
                server = self._connect()
            except OSError:  # the client's connection is closed
                return
            with server:
                with contextlib.suppress(OSError):
                    self._forward(client, server)
                _shut_down(client)
                _shut_down(server)

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        session = self._forward_startup(client, server)
        if session is not None:
            self.sessions.append(session)
        try:
            responses = threading.Thread(
                target=self._pump, args=(server, client, lambda data: self._feed_backend(session, data)), daemon=True
            )
            responses.start()
            self._pump(client, server, lambda data: self._feed_frontend(session, data))
            responses.join()
        finally:
            if session is not None:
                self.sessions.remove(session)
                self._on_event(session, ReadyForQuery(open=False, at=time.monotonic()))  # all its locks are released

    def _connect(self) -> socket.socket:
        address, port = self._upstream
        if address.startswith("/"):
            server = socket.socket(socket.AF_UNIX)
            server.connect(f"{address}/.s.PGSQL.{port}")
        else:
            server = socket.create_connection((address, port), CONNECT_TIMEOUT_S)
            server.settimeout(None)
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return server

    def _forward_startup(self, client: socket.socket, server: socket.socket) -> RelayedSession | None:
        """Forward the start of a session. Return None if the relay cannot read the session."""
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            first = _receive_exactly(client, 8)
            length, code = struct.unpack("!II", first)
            if code in ENCRYPTION_REQUESTS and self._plain:
                client.sendall(b"N")
            elif code in ENCRYPTION_REQUESTS:
                server.sendall(first)
                reply = _receive_exactly(server, 1)
                client.sendall(reply)
                if reply != b"N":
                    self.unread_reason = "The server encrypts its sessions."
                    return None
            elif first[0] or code == CANCEL_REQUEST:  # an encrypted session, or a cancel request
                server.sendall(first)
                return None
            else:
                server.sendall(first + _receive_exactly(client, length - 8))
                return RelayedSession()

    def _pump(self, source: socket.socket, target: socket.socket, feed: Callable[[bytes], None]) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                feed(data)
                target.sendall(data)
        _shut_down(target)
        _shut_down(source)

    def _feed_frontend(self, session: RelayedSession | None, data: bytes) -> None:
        if session is not None and not session.unreadable:
            with self._stop_reading_on_error(session), session.mutex:
                session.protocol.feed_frontend(data, time.monotonic())

    def _feed_backend(self, session: RelayedSession | None, data: bytes) -> None:
        if session is None or session.unreadable:
            return
        with self._stop_reading_on_error(session):
            with session.mutex:
                events = list(session.protocol.feed_backend(data, time.monotonic()))
            for event in events:
                self._on_event(session, event)
                session.last = event if isinstance(event, StatementEnded) else session.last

    @contextlib.contextmanager
    def _stop_reading_on_error(self, session: RelayedSession) -> Iterator[None]:
        """Stop reading the session after an error. The relay continues to forward its bytes."""
        try:
            yield
        except Exception as error:
            session.unreadable = True
            self.unread_reason = f"Could not read a session: {error}."


def _receive_exactly(source: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count:
        chunk = source.recv(count - len(received))
        if not chunk:
            raise ConnectionError("the peer closed the connection")
        received += chunk
    return received


def _shut_down(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
