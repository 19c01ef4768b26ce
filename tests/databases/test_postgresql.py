"""The schema and copies of a database, on a real PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from sqlalchemy import URL, make_url

from slipway.core.errors import InvalidInput, SlipwayError, Unavailable
from slipway.databases.postgresql.database import PostgreSQL
from slipway.deployments.ports import free_ports

TABLES = """
CREATE TABLE customer (id serial PRIMARY KEY, email text NOT NULL UNIQUE);
CREATE TABLE purchase (id serial PRIMARY KEY, customer_id int NOT NULL REFERENCES customer, cents int CHECK (cents > 0));
CREATE INDEX purchase_customer ON purchase (customer_id);
CREATE VIEW rich AS SELECT customer_id FROM purchase WHERE cents > 1000;
INSERT INTO customer (email) SELECT n || '@example.com' FROM generate_series(1, 50) AS n;
INSERT INTO purchase (customer_id, cents) SELECT 1 + n % 50, n FROM generate_series(1, 2000) AS n;
"""
CHECKSUM = "SELECT md5(string_agg(p::text, ',' ORDER BY id)) FROM purchase AS p"


def connect(database: PostgreSQL) -> psycopg.Connection[Any]:
    """Return a plain connection."""
    return psycopg.connect(database.connection_url().replace("+psycopg", ""), autocommit=True)


def scalar(database: PostgreSQL, query: str) -> Any:
    """Return one value."""
    with connect(database) as connection:
        row = connection.execute(query).fetchone()
        return row and row[0]


def exists(database: PostgreSQL, name: str) -> bool:
    """Return whether the server has a database of this name."""
    return bool(scalar(database, f"SELECT count(*) FROM pg_database WHERE datname = '{name}'"))


@pytest.fixture
def live(database: str) -> PostgreSQL:
    """Return a small database with rows."""
    created = PostgreSQL(database)
    with connect(created) as connection:
        connection.execute(TABLES)
    return created


def test_a_copy_has_the_rows_and_the_schema(live: PostgreSQL) -> None:
    """The copy is another database with the same schema and rows. Its sequences continue from the values of the original."""
    with live.copied("run-1") as copy:
        assert copy.name == "slipway_copy_run-1"
        assert scalar(copy, "SELECT current_database()") == "slipway_copy_run-1"
        assert copy.schema() == live.schema()
        assert scalar(copy, CHECKSUM) == scalar(live, CHECKSUM)
        assert scalar(copy, "SELECT nextval('purchase_id_seq')") == 2001


def test_the_copy_has_statistics(live: PostgreSQL) -> None:
    """The copy is analysed, so that its query plans are realistic."""
    with live.copied("run-1") as copy:
        assert scalar(copy, "SELECT reltuples FROM pg_class WHERE relname = 'purchase'") == 2000


def test_writing_to_the_copy_leaves_the_original(live: PostgreSQL) -> None:
    """Changes of the copy do not change the live database."""
    before = live.schema()
    with live.copied("run-1") as copy, connect(copy) as connection:
        connection.execute("DROP TABLE purchase CASCADE")
        assert copy.schema() != before
    assert live.schema() == before
    assert scalar(live, "SELECT count(*) FROM purchase") == 2000


def test_the_copy_is_dropped_at_the_end(live: PostgreSQL) -> None:
    """The copy is dropped even if a session is still connected to it."""
    with live.copied("run-1") as copy:
        name, open_session = copy.name, connect(copy)
    assert not exists(live, name)
    with pytest.raises(psycopg.OperationalError):
        open_session.execute("SELECT 1")
    open_session.close()


def test_the_copy_is_dropped_after_a_failure(live: PostgreSQL) -> None:
    """If an error occurs while the copy is in use, the copy is dropped and the error is raised."""
    with pytest.raises(ZeroDivisionError), live.copied("run-1") as copy:
        scalar(copy, f"SELECT {1 / 0}")
    assert not exists(live, "slipway_copy_run-1")


def test_the_copy_is_dropped_when_the_restore_fails(live: PostgreSQL) -> None:
    """An incomplete copy is dropped, and the error contains the tool's own reason."""
    with connect(live) as connection:
        connection.execute("CREATE FUNCTION bad() RETURNS int LANGUAGE sql AS 'SELECT 1 / 0' IMMUTABLE")
        connection.execute("CREATE FUNCTION worse(int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN gone($1); END'")
        connection.execute("CREATE FUNCTION gone(int) RETURNS int LANGUAGE sql AS 'SELECT $1' IMMUTABLE")
        connection.execute("ALTER TABLE purchase ADD CONSTRAINT odd CHECK (worse(cents) > 0)")
    with pytest.raises(SlipwayError) as failed, live.copied("run-1"):
        pytest.fail("the copy was created")
    assert re.match(r"pg_restore exited with 1 after \d+ s: ", failed.value.failed)
    assert failed.value.expected == "The dump and the restore exit with 0."
    assert failed.value.retry_is_safe
    assert not exists(live, "slipway_copy_run-1")


def test_a_leftover_of_the_same_label_is_dropped_first(live: PostgreSQL) -> None:
    """The copy of a killed run is dropped, even if a session is connected to it."""
    with connect(live) as connection:
        connection.execute('CREATE DATABASE "slipway_copy_run-1"')
    leftover = PostgreSQL(make_url(live.connection_url()).set(database="slipway_copy_run-1").render_as_string(False))
    with connect(leftover) as connection:
        connection.execute("CREATE TABLE stale ()")
        with live.copied("run-1") as copy:
            assert "stale" not in copy.schema()
            assert scalar(copy, "SELECT count(*) FROM purchase") == 2000


def test_copying_works_while_the_original_is_in_use(live: PostgreSQL) -> None:
    """An open transaction with changes does not block the copy, and its changes are not in the copy."""
    with connect(live) as busy, busy.transaction(force_rollback=True):
        busy.execute("INSERT INTO customer (email) VALUES ('new@example.com')")
        with live.copied("run-1") as copy:
            assert scalar(copy, "SELECT count(*) FROM customer") == 50


def test_two_copies_exist_at_the_same_time(live: PostgreSQL) -> None:
    """Copies with different labels do not conflict, even if the labels are similar."""
    with live.copied("run-1") as first, live.copied("run1") as second:
        assert first.schema() == second.schema()
    assert not exists(live, "slipway_copy_run-1") and not exists(live, "slipway_copy_run1")


def test_schema_text_is_stable_and_complete(live: PostgreSQL) -> None:
    """The text is the same on every call, contains every object, and changes with a small change of the schema."""
    first = live.schema()
    assert first == live.schema()
    for line in ("CREATE TABLE public.customer (", "CREATE VIEW public.rich AS", "CREATE INDEX purchase_customer ON"):
        assert line in first
    assert not [line for line in first.splitlines() if line.startswith(("--", "\\"))]
    with connect(live) as connection:
        connection.execute("ALTER TABLE customer ALTER email DROP NOT NULL")
    assert live.schema() != first


def test_the_version_table_of_a_tool_is_not_part_of_the_schema(live: PostgreSQL) -> None:
    """The tables in which Alembic and Django record the revision do not change the schema text."""
    before = live.schema()
    with connect(live) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
        connection.execute(
            "CREATE TABLE django_migrations (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, app text)"
        )
    assert live.schema() == before
    with connect(live) as connection:
        connection.execute("CREATE TABLE my_alembic_version (version_num varchar(32) PRIMARY KEY)")
    assert "CREATE TABLE public.my_alembic_version" in live.schema()


def test_rows_are_not_part_of_the_schema(live: PostgreSQL) -> None:
    """Deleting rows does not change the schema text."""
    before = live.schema()
    with connect(live) as connection:
        connection.execute("DELETE FROM purchase; DELETE FROM customer")
    assert live.schema() == before


def test_size_is_the_size_on_disk(live: PostgreSQL) -> None:
    """The size is the value of `pg_database_size`."""
    assert live.size_bytes() == scalar(live, "SELECT pg_database_size(current_database())")


@pytest.mark.parametrize("driver", ["postgresql", "postgresql+asyncpg", "postgresql+psycopg2", "postgresql+psycopg"])
def test_the_service_can_use_any_driver(live: PostgreSQL, driver: str) -> None:
    """The URL may name another driver than Slipway's. The service's commands get the URL unchanged."""
    url = make_url(live.connection_url()).set(drivername=driver).render_as_string(hide_password=False)
    service_database = PostgreSQL(url)
    assert service_database.size_bytes() > 0
    with service_database.copied("run-1") as copy:
        assert copy.schema() == live.schema()
        assert copy.connection_url() == url.replace(live.name, copy.name)


METHODS: dict[str, Callable[[PostgreSQL], Any]] = {
    "size": lambda database: database.size_bytes(),
    "schema": lambda database: database.schema(),
    "copy": lambda database: database.copied("run-1").__enter__(),
}


def failure(url: URL, method: Callable[[PostgreSQL], Any], **parts: Any) -> SlipwayError:
    """Return the error that `method` raises if these parts of the URL are wrong."""
    wrong = url.set(**parts).render_as_string(hide_password=False)
    with pytest.raises(SlipwayError) as failed:
        method(PostgreSQL(wrong))
    return failed.value


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
def test_wrong_password_is_not_repeated(postgres: URL, method: Callable[[PostgreSQL], Any]) -> None:
    """The error names the user, but never the password."""
    error = failure(postgres, method, password="hunter2-wrong")
    assert 'password authentication failed for user "slipway"' in error.failed
    assert "hunter2-wrong" not in str(error)
    assert error.retry_is_safe


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
def test_unknown_database_is_named_and_not_created(postgres: URL, method: Callable[[PostgreSQL], Any]) -> None:
    """The error names the missing database, and no copy is created."""
    error = failure(postgres, method, database="nowhere")
    assert 'database "nowhere" does not exist' in error.failed
    assert "server-secret" not in str(error)
    assert not exists(PostgreSQL(postgres.render_as_string(hide_password=False)), "slipway_copy_run-1")


def test_stopped_server_is_unavailable(postgres: URL) -> None:
    """If the server does not answer, the error is `Unavailable`, so that a retry may succeed."""
    [port] = free_ports([0])
    error = failure(postgres, METHODS["size"], port=port)
    assert isinstance(error, Unavailable)
    assert error.failed.startswith("Database postgres: connection failed")
    assert error.failed.endswith("Connection refused.")
    assert error.expected == "A database that answers."


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql+pymysql://shop:hunter2@db/shop", "mysql+pymysql is not a PostgreSQL database."),
        ("sqlite:///shop.db", "sqlite is not a PostgreSQL database."),
        ("hunter2", "The database URL is malformed."),
        ("", "The database URL is malformed."),
        ("postgresql://shop:hunter2@db:port/shop", "The database URL is malformed."),
        ("postgresql://shop:hunter2@db", "The database URL names no database."),
    ],
)
def test_invalid_url_is_rejected_and_not_repeated(url: str, message: str) -> None:
    """A URL that is not for a PostgreSQL database is rejected before connecting, and the error does not contain it."""
    with pytest.raises(InvalidInput) as refused:
        PostgreSQL(url)
    assert str(refused.value) == f"{message} Expected: postgresql+psycopg://… A retry is safe."
