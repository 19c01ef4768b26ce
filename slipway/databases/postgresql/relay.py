"""A relay on 127.0.0.1 between a client and PostgreSQL that passes every byte on, and hears which statements run."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from slipway.databases.postgresql.protocol import CANCEL_REQUEST, ENCRYPTION_REQUESTS, Ended, ProtocolSession, Ready

HOST = "127.0.0.1"
CHUNK = 65_536
CONNECT_TIMEOUT_S = 10
JOIN_S = 5


@dataclass
class RelayedSession:
    """One session that is heard; `mutex` guards the conversation."""

    conversation: ProtocolSession = field(default_factory=ProtocolSession)
    mutex: threading.Lock = field(default_factory=threading.Lock)
    last: Ended | None = None
    looked: set[str] = field(default_factory=set)  # the texts whose locks were looked at in this transaction
    deaf: bool = False


class Relay:
    """Listens from `start` to `stop`. `hear` is called before what the server said of it reaches the client.

    To a server on this machine clients speak plainly, as the relay answers for it that it does not encrypt. To one
    elsewhere it lets client and server agree; a session that they encrypt is passed on unheard.
    """

    def __init__(self, address: str, port: int, hear: Callable[[RelayedSession, Ended | Ready], None]) -> None:
        self.sessions: list[RelayedSession] = []
        self.unheard = ""
        self._upstream = address, port
        self._plain = address.startswith("/") or ipaddress.ip_address(address).is_loopback
        self._hear = hear
        self._listener = socket.create_server((HOST, 0))
        self._clients: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._stopped = False

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""
        return int(self._listener.getsockname()[1])

    def start(self) -> None:
        """Listen from now on."""
        self._run(self._accept)

    def stop(self) -> None:
        """Close every connection, and wait for the threads."""
        self._stopped = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the accept
        self._listener.close()
        for client in self._clients:
            _shut(client)
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
            self._clients = [each for each in self._clients if each.fileno() >= 0] + [client]
            self._run(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with client:
            try:
                server = self._connect()
            except OSError:  # the client sees its connection end
                return
            with server:
                with contextlib.suppress(OSError):
                    self._pass_on(client, server)
                _shut(client)
                _shut(server)

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        heard = self._greet(client, server)
        if heard is not None:
            self.sessions.append(heard)
        try:
            back = threading.Thread(
                target=self._pump, args=(server, client, lambda data: self._from_server(heard, data)), daemon=True
            )
            back.start()
            self._pump(client, server, lambda data: self._from_client(heard, data))
            back.join()
        finally:
            if heard is not None:
                self.sessions.remove(heard)
                self._hear(heard, Ready(open=False, at=time.monotonic()))  # whatever it held it holds no more

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

    def _greet(self, client: socket.socket, server: socket.socket) -> RelayedSession | None:
        """Pass the start of a session on; None when what follows cannot be read."""
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            first = _exactly(client, 8)
            length, code = struct.unpack("!II", first)
            if code in ENCRYPTION_REQUESTS and self._plain:
                client.sendall(b"N")
            elif code in ENCRYPTION_REQUESTS:
                server.sendall(first)
                answer = _exactly(server, 1)
                client.sendall(answer)
                if answer != b"N":
                    self.unheard = "The server encrypts its sessions."
                    return None
            elif first[0] or code == CANCEL_REQUEST:  # a session that begins encrypted, or no session
                server.sendall(first)
                return None
            else:
                server.sendall(first + _exactly(client, length - 8))
                return RelayedSession()

    def _pump(self, source: socket.socket, target: socket.socket, hear: Callable[[bytes], None]) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                hear(data)
                target.sendall(data)
        _shut(target)
        _shut(source)

    def _from_client(self, heard: RelayedSession | None, data: bytes) -> None:
        if heard is not None and not heard.deaf:
            with self._never_in_the_way(heard), heard.mutex:
                heard.conversation.asked(data, time.monotonic())

    def _from_server(self, heard: RelayedSession | None, data: bytes) -> None:
        if heard is None or heard.deaf:
            return
        with self._never_in_the_way(heard):
            with heard.mutex:
                events = list(heard.conversation.answered(data, time.monotonic()))
            for event in events:
                self._hear(heard, event)
                heard.last = event if isinstance(event, Ended) else heard.last

    @contextlib.contextmanager
    def _never_in_the_way(self, heard: RelayedSession) -> Iterator[None]:
        """Whatever goes wrong while listening is no reason to stop passing bytes on."""
        try:
            yield
        except Exception as error:
            heard.deaf = True
            self.unheard = f"A session could not be followed: {error}."


def _exactly(source: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        more = source.recv(count - len(found))
        if not more:
            raise ConnectionError("the peer closed the connection")
        found += more
    return found


def _shut(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
