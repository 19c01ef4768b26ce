"""The relay: sessions that it forwards without reading, and a missing server."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from sqlalchemy import URL

from slipway.databases.postgresql import protocol
from slipway.databases.postgresql.protocol import ReadyForQuery, StatementEnded
from slipway.databases.postgresql.relay import HOST, Relay, RelayedSession
from slipway.deployments.ports import free_ports
from tests.stack.runs import wait_for

SSL_REQUEST = (8).to_bytes(4) + (80877103).to_bytes(4)


@pytest.fixture(autouse=True)
def _wait_for_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the relay wait for its threads on a slow machine."""
    monkeypatch.setattr("slipway.databases.postgresql.relay.JOIN_S", 120)


@contextmanager
def running_relay(port: int, *, remote: bool = False) -> Iterator[tuple[Relay, list[str]]]:
    """Yield a relay to a local port, and the statements that it read. `remote` treats the port as remote."""
    statements: list[str] = []

    def on_event(session: RelayedSession, event: StatementEnded | ReadyForQuery) -> None:
        if isinstance(event, StatementEnded):
            statements.append(event.sql)

    relay = Relay(HOST, port, on_event)
    if remote:
        relay._plain = False
    relay.start()
    try:
        yield relay, statements
    finally:
        relay.stop()


def through(relay: Relay, server: URL) -> str:
    """Return the URL of the server through the relay."""
    return server.set(drivername="postgresql", port=relay.port).render_as_string(hide_password=False)


@pytest.mark.parametrize("remote", [False, True])
@pytest.mark.parametrize("sslmode", ["disable", "prefer"])
def test_relay_reads_sessions_of_a_server_without_encryption(postgres: URL, remote: bool, sslmode: str) -> None:
    """A client that prefers encryption continues without it, and the relay reads its statements."""
    assert postgres.port is not None
    with (
        running_relay(postgres.port, remote=remote) as (relay, statements),
        psycopg.connect(through(relay, postgres), sslmode=sslmode, autocommit=True) as connection,
    ):
        assert connection.execute("SELECT 7").fetchone() == (7,)
        assert statements == ["SELECT 7"]
    assert (relay.unread_reason, relay.sessions) == ("", [])


def test_relay_forwards_an_encrypted_session_without_reading() -> None:
    """Every byte is forwarded, none is read, and the relay reports the reason."""
    with (
        socket.create_server((HOST, 0)) as server,
        running_relay(server.getsockname()[1], remote=True) as (relay, statements),
    ):

        def serve() -> None:
            with server.accept()[0] as session:
                assert session.recv(8) == SSL_REQUEST
                session.sendall(b"S")
                session.sendall(session.recv(100)[::-1])

        serving = threading.Thread(target=serve)
        serving.start()
        with socket.create_connection((HOST, relay.port), timeout=120) as client:
            client.sendall(SSL_REQUEST)
            assert client.recv(1) == b"S"
            client.sendall(b"Q\0\0secret")
            assert client.recv(100) == b"terces\0\0Q"
            assert client.recv(100) == b""
        serving.join()
    assert (relay.unread_reason, statements) == ("The server encrypts its sessions.", [])


def test_cancel_request_reaches_the_server(postgres: URL) -> None:
    """The relay forwards a client's cancel request."""
    assert postgres.port is not None
    plain = postgres.set(drivername="postgresql").render_as_string(hide_password=False)
    with running_relay(postgres.port) as (relay, _), psycopg.connect(through(relay, postgres)) as connection:
        sleeps = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'"

        def cancel_once_it_runs(pid: int = connection.info.backend_pid) -> None:
            with psycopg.connect(plain, autocommit=True) as other:
                wait_for(lambda: other.execute(sleeps, [pid]).fetchone(), "the statement to run")
            connection.cancel_safe(timeout=120)

        canceller = threading.Thread(target=cancel_once_it_runs)
        canceller.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("SELECT pg_sleep(600)")
        canceller.join()


def test_client_connection_closes_without_a_server() -> None:
    """If the server does not accept connections, the relay closes the client's connection."""
    [port] = free_ports([0])
    with running_relay(port) as (relay, _), socket.create_connection((HOST, relay.port), timeout=120) as client:
        assert client.recv(1) == b""


def test_relay_forwards_after_a_protocol_error(postgres: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the relay fails to read a session, the client still gets its responses, and the relay reports the reason."""

    def fail(tag: bytes) -> int:
        raise ValueError("no such tag")

    assert postgres.port is not None
    monkeypatch.setattr(protocol, "_rows", fail)
    with (
        running_relay(postgres.port) as (relay, statements),
        psycopg.connect(through(relay, postgres), autocommit=True) as connection,
    ):
        assert connection.execute("SELECT 7").fetchone() == (7,)
        assert connection.execute("SELECT 8").fetchone() == (8,)
    assert (relay.unread_reason, statements) == ("Could not read a session: no such tag.", [])
