"""Sessions that would block a migration, on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from slipway.databases.catalog import LockMode
from slipway.databases.postgresql import lock_holders
from slipway.databases.postgresql.database import PostgreSQL
from slipway.databases.postgresql.lock_holders import lock_holder_reader


@pytest.fixture
def orders(database: str) -> PostgreSQL:
    """Return a database with two tables, one of them in another schema."""
    created = PostgreSQL(database)
    with connect(created) as connection:
        connection.execute("CREATE TABLE orders (id int); CREATE SCHEMA sales; CREATE TABLE sales.items (id int)")
    return created


@pytest.fixture
def other_session(orders: PostgreSQL) -> Iterator[psycopg.Connection[Any]]:
    """Open another session with the application name `report`."""
    with connect(orders, application_name="report") as connection:
        yield connection
        connection.rollback()


def connect(database: PostgreSQL, **options: str) -> psycopg.Connection[Any]:
    """Return a plain connection."""
    return psycopg.connect(database.connection_url().replace("+psycopg", ""), **options)


@pytest.mark.parametrize(
    ("statement", "table", "mode", "blocks"),
    [
        ("SELECT * FROM orders", "orders", "ACCESS EXCLUSIVE", True),
        ("SELECT * FROM orders", "orders", "SHARE", False),
        ("UPDATE orders SET id = 1", "orders", "SHARE", True),
        ("UPDATE orders SET id = 1", "orders", "SHARE UPDATE EXCLUSIVE", False),
        ("SELECT * FROM sales.items", "sales.items", "ACCESS EXCLUSIVE", True),
        ("SELECT * FROM sales.items", "items", "ACCESS EXCLUSIVE", False),
        ("SELECT * FROM sales.items", "orders", "ACCESS EXCLUSIVE", False),
    ],
)
def test_reader_returns_conflicting_transactions(
    orders: PostgreSQL,
    other_session: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
    statement: str,
    table: str,
    mode: LockMode,
    blocks: bool,
) -> None:
    """An open read conflicts only with the strongest lock, a write with more modes, each on its own table."""
    monkeypatch.setattr(lock_holders, "LONG_S", 0.0)
    other_session.execute(statement.encode())
    with lock_holder_reader(orders, {table: mode}) as read_holders:
        holders = read_holders()
        other_session.rollback()
        assert read_holders() == []
    assert [holder.pid for holder in holders] == ([other_session.info.backend_pid] if blocks else [])
    if blocks:
        assert (
            holders[0]
            .describe()
            .startswith(f"pid {other_session.info.backend_pid} (report, idle in transaction, since ")
        )


def test_reader_ignores_short_transactions(
    orders: PostgreSQL, other_session: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction that has just started ends soon, so it does not delay the migration."""
    monkeypatch.setattr(lock_holders, "LONG_S", 3_600.0)
    other_session.execute("SELECT * FROM orders")
    with lock_holder_reader(orders, {"orders": "ACCESS EXCLUSIVE"}) as read_holders:
        assert read_holders() == []


def test_no_session_blocks_a_migration_without_strong_locks(
    orders: PostgreSQL, other_session: psycopg.Connection[Any]
) -> None:
    """The reader returns no sessions without locks, and for a table that does not exist."""
    other_session.execute("SELECT * FROM orders")
    for locks in ({}, {"no such table": "SHARE"}):
        with lock_holder_reader(orders, locks) as read_holders:
            assert read_holders() == []
