"""The relay itself: what it passes on unheard, and what it does when the server is not there."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from sqlalchemy import URL

from slipway.databases.postgresql import protocol
from slipway.databases.postgresql.protocol import Ended, Ready
from slipway.databases.postgresql.relay import HOST, Relay, RelayedSession
from slipway.deployments.ports import free_ports
from tests.stack.runs import wait_for

SSL_REQUEST = (8).to_bytes(4) + (80877103).to_bytes(4)


@pytest.fixture(autouse=True)
def _wait_for_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the relay wait for its threads on a slow machine, too."""
    monkeypatch.setattr("slipway.databases.postgresql.relay.JOIN_S", 120)


@contextmanager
def relaying(port: int, *, elsewhere: bool = False) -> Iterator[tuple[Relay, list[str]]]:
    """A relay to a port of this machine, taken for one elsewhere if asked, and the statements that it heard."""
    told: list[str] = []

    def hear(heard: RelayedSession, event: Ended | Ready) -> None:
        if isinstance(event, Ended):
            told.append(event.sql)

    relay = Relay(HOST, port, hear)
    if elsewhere:
        relay._plain = False
    relay.start()
    try:
        yield relay, told
    finally:
        relay.stop()


def through(relay: Relay, server: URL) -> str:
    """The server's URL by way of the relay."""
    return server.set(drivername="postgresql", port=relay.port).render_as_string(hide_password=False)


@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize("sslmode", ["disable", "prefer"])
def test_a_server_that_does_not_encrypt(postgres: URL, elsewhere: bool, sslmode: str) -> None:
    """A client that would like to encrypt goes on without, and is heard."""
    assert postgres.port is not None
    with (
        relaying(postgres.port, elsewhere=elsewhere) as (relay, told),
        psycopg.connect(through(relay, postgres), sslmode=sslmode, autocommit=True) as connection,
    ):
        assert connection.execute("SELECT 7").fetchone() == (7,)
        assert told == ["SELECT 7"]
    assert (relay.unheard, relay.sessions) == ("", [])


def test_a_session_that_client_and_server_encrypt() -> None:
    """Every byte is passed on, none is read, and it is told that the session was not heard."""
    with socket.create_server((HOST, 0)) as server, relaying(server.getsockname()[1], elsewhere=True) as (relay, told):

        def answer() -> None:
            with server.accept()[0] as session:
                assert session.recv(8) == SSL_REQUEST
                session.sendall(b"S")
                session.sendall(session.recv(100)[::-1])

        answering = threading.Thread(target=answer)
        answering.start()
        with socket.create_connection((HOST, relay.port), timeout=120) as client:
            client.sendall(SSL_REQUEST)
            assert client.recv(1) == b"S"
            client.sendall(b"Q\0\0secret")
            assert client.recv(100) == b"terces\0\0Q"
            assert client.recv(100) == b""
        answering.join()
    assert (relay.unheard, told) == ("The server encrypts its sessions.", [])


def test_cancelling_works_through_the_relay(postgres: URL) -> None:
    """A client's request to cancel reaches the server."""
    assert postgres.port is not None
    plain = postgres.set(drivername="postgresql").render_as_string(hide_password=False)
    with relaying(postgres.port) as (relay, _), psycopg.connect(through(relay, postgres)) as connection:
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


def test_a_server_that_is_away() -> None:
    """The client sees its connection end."""
    [port] = free_ports([0])
    with relaying(port) as (relay, _), socket.create_connection((HOST, relay.port), timeout=120) as client:
        assert client.recv(1) == b""


def test_a_conversation_that_is_not_understood(postgres: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong while listening, the client gets its answers, and it is told that it was not heard."""

    def fail(tag: bytes) -> int:
        raise ValueError("no such tag")

    assert postgres.port is not None
    monkeypatch.setattr(protocol, "_rows", fail)
    with (
        relaying(postgres.port) as (relay, told),
        psycopg.connect(through(relay, postgres), autocommit=True) as connection,
    ):
        assert connection.execute("SELECT 7").fetchone() == (7,)
        assert connection.execute("SELECT 8").fetchone() == (8,)
    assert (relay.unheard, told) == ("A session could not be followed: no such tag.", [])
