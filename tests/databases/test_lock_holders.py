"""Who would keep a migration from a lock, on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from slipway.databases.catalog import LockMode
from slipway.databases.postgresql import lock_holders
from slipway.databases.postgresql.database import PostgreSQL
from slipway.databases.postgresql.lock_holders import in_the_way


@pytest.fixture
def orders(database: str) -> PostgreSQL:
    """A database with two tables, one of them in a schema of its own."""
    found = PostgreSQL(database)
    with connect(found) as connection:
        connection.execute("CREATE TABLE orders (id int); CREATE SCHEMA sales; CREATE TABLE sales.items (id int)")
    return found


@pytest.fixture
def somebody(orders: PostgreSQL) -> Iterator[psycopg.Connection[Any]]:
    """Another session, called `report`."""
    with connect(orders, application_name="report") as connection:
        yield connection
        connection.rollback()


def connect(database: PostgreSQL, **options: str) -> psycopg.Connection[Any]:
    """A plain connection."""
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
def test_an_open_transaction(
    orders: PostgreSQL,
    somebody: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
    statement: str,
    table: str,
    mode: LockMode,
    blocks: bool,
) -> None:
    """A reader excludes only the strongest lock, a writer more of them, each on its own table."""
    monkeypatch.setattr(lock_holders, "LONG_S", 0.0)
    somebody.execute(statement.encode())
    with in_the_way(orders, {table: mode}) as look:
        found = look()
        somebody.rollback()
        assert look() == []
    assert [blocker.pid for blocker in found] == ([somebody.info.backend_pid] if blocks else [])
    if blocks:
        assert found[0].words().startswith(f"pid {somebody.info.backend_pid} (report, idle in transaction, since ")


def test_a_passing_transaction(
    orders: PostgreSQL, somebody: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that has just begun is over soon: nobody need wait for a gap between such."""
    monkeypatch.setattr(lock_holders, "LONG_S", 3_600.0)
    somebody.execute("SELECT * FROM orders")
    with in_the_way(orders, {"orders": "ACCESS EXCLUSIVE"}) as look:
        assert look() == []


def test_nothing_wanted(orders: PostgreSQL, somebody: psycopg.Connection[Any]) -> None:
    """A migration that takes no strong lock has nobody in its way."""
    somebody.execute("SELECT * FROM orders")
    for wanted in ({}, {"no such table": "SHARE"}):
        with in_the_way(orders, wanted) as look:
            assert look() == []
