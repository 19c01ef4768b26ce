"""A database's schema and its copy, on a real PostgreSQL."""

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
    """A plain connection."""
    return psycopg.connect(database.connection_url().replace("+psycopg", ""), autocommit=True)


def scalar(database: PostgreSQL, query: str) -> Any:
    """One value."""
    with connect(database) as connection:
        row = connection.execute(query).fetchone()
        return row and row[0]


def exists(database: PostgreSQL, name: str) -> bool:
    """Whether the server has a database of this name."""
    return bool(scalar(database, f"SELECT count(*) FROM pg_database WHERE datname = '{name}'"))


@pytest.fixture
def live(database: str) -> PostgreSQL:
    """A small database in use."""
    found = PostgreSQL(database)
    with connect(found) as connection:
        connection.execute(TABLES)
    return found


def test_a_copy_has_the_rows_and_the_schema(live: PostgreSQL) -> None:
    """The copy is another database with the same schema and rows, its sequences go on where the original's stand."""
    with live.copied("run-1") as copy:
        assert copy.name == "slipway_copy_run-1"
        assert scalar(copy, "SELECT current_database()") == "slipway_copy_run-1"
        assert copy.schema() == live.schema()
        assert scalar(copy, CHECKSUM) == scalar(live, CHECKSUM)
        assert scalar(copy, "SELECT nextval('purchase_id_seq')") == 2001


def test_the_copy_has_statistics(live: PostgreSQL) -> None:
    """The copy is analysed, so that its plans are those of a database in use."""
    with live.copied("run-1") as copy:
        assert scalar(copy, "SELECT reltuples FROM pg_class WHERE relname = 'purchase'") == 2000


def test_writing_to_the_copy_leaves_the_original(live: PostgreSQL) -> None:
    """What is done to the copy is not done to the live database."""
    before = live.schema()
    with live.copied("run-1") as copy, connect(copy) as connection:
        connection.execute("DROP TABLE purchase CASCADE")
        assert copy.schema() != before
    assert live.schema() == before
    assert scalar(live, "SELECT count(*) FROM purchase") == 2000


def test_the_copy_is_dropped_at_the_end(live: PostgreSQL) -> None:
    """Nothing of the copy is left, also when somebody is still connected to it."""
    with live.copied("run-1") as copy:
        name, forgotten = copy.name, connect(copy)
    assert not exists(live, name)
    with pytest.raises(psycopg.OperationalError):
        forgotten.execute("SELECT 1")
    forgotten.close()


def test_the_copy_is_dropped_after_a_failure(live: PostgreSQL) -> None:
    """Whatever goes wrong while the copy is used, it is dropped and the error goes on."""
    with pytest.raises(ZeroDivisionError), live.copied("run-1") as copy:
        scalar(copy, f"SELECT {1 / 0}")
    assert not exists(live, "slipway_copy_run-1")


def test_the_copy_is_dropped_when_it_cannot_be_made(live: PostgreSQL) -> None:
    """A copy that breaks off half-way leaves nothing; the tool's own reason is told."""
    with connect(live) as connection:
        connection.execute("CREATE FUNCTION bad() RETURNS int LANGUAGE sql AS 'SELECT 1 / 0' IMMUTABLE")
        connection.execute("CREATE FUNCTION worse(int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN gone($1); END'")
        connection.execute("CREATE FUNCTION gone(int) RETURNS int LANGUAGE sql AS 'SELECT $1' IMMUTABLE")
        connection.execute("ALTER TABLE purchase ADD CONSTRAINT odd CHECK (worse(cents) > 0)")
    with pytest.raises(SlipwayError) as failed, live.copied("run-1"):
        pytest.fail("the copy was made")
    assert re.match(r"pg_restore ended with 1 after \d+ s: ", failed.value.failed)
    assert failed.value.expected == "A dump and a restore that end with 0."
    assert failed.value.retry_is_safe
    assert not exists(live, "slipway_copy_run-1")


def test_a_leftover_of_the_same_label_is_dropped_first(live: PostgreSQL) -> None:
    """What a dead run left behind is no obstacle, also when somebody is connected to it."""
    with connect(live) as connection:
        connection.execute('CREATE DATABASE "slipway_copy_run-1"')
    leftover = PostgreSQL(make_url(live.connection_url()).set(database="slipway_copy_run-1").render_as_string(False))
    with connect(leftover) as connection:
        connection.execute("CREATE TABLE stale ()")
        with live.copied("run-1") as copy:
            assert "stale" not in copy.schema()
            assert scalar(copy, "SELECT count(*) FROM purchase") == 2000


def test_the_original_may_be_in_use(live: PostgreSQL) -> None:
    """A copy needs no quiet source: an open transaction with changes neither stops it nor stands in it."""
    with connect(live) as busy, busy.transaction(force_rollback=True):
        busy.execute("INSERT INTO customer (email) VALUES ('new@example.com')")
        with live.copied("run-1") as copy:
            assert scalar(copy, "SELECT count(*) FROM customer") == 50


def test_two_copies_at_once(live: PostgreSQL) -> None:
    """Copies of different labels stand side by side, however alike the labels are."""
    with live.copied("run-1") as one, live.copied("run1") as two:
        assert one.schema() == two.schema()
    assert not exists(live, "slipway_copy_run-1") and not exists(live, "slipway_copy_run1")


def test_the_schema_as_text(live: PostgreSQL) -> None:
    """The schema is the same text at every look, holds what matters, and changes with the smallest change."""
    first = live.schema()
    assert first == live.schema()
    for line in ("CREATE TABLE public.customer (", "CREATE VIEW public.rich AS", "CREATE INDEX purchase_customer ON"):
        assert line in first
    assert not [line for line in first.splitlines() if line.startswith(("--", "\\"))]
    with connect(live) as connection:
        connection.execute("ALTER TABLE customer ALTER email DROP NOT NULL")
    assert live.schema() != first


def test_the_version_table_of_a_tool_is_not_part_of_the_schema(live: PostgreSQL) -> None:
    """The tables in which Alembic and Django write down where they stand may come and stay, in whatever schema."""
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
    """Writing rows does not change the schema."""
    before = live.schema()
    with connect(live) as connection:
        connection.execute("DELETE FROM purchase; DELETE FROM customer")
    assert live.schema() == before


def test_the_size(live: PostgreSQL) -> None:
    """The size is that of the database on disk."""
    assert live.size_bytes() == scalar(live, "SELECT pg_database_size(current_database())")


@pytest.mark.parametrize("driver", ["postgresql", "postgresql+asyncpg", "postgresql+psycopg2", "postgresql+psycopg"])
def test_whatever_driver_the_service_uses(live: PostgreSQL, driver: str) -> None:
    """The URL may name the service's own driver, which is not ours; the service's commands get it as it stands."""
    url = make_url(live.connection_url()).set(drivername=driver).render_as_string(hide_password=False)
    theirs = PostgreSQL(url)
    assert theirs.size_bytes() > 0
    with theirs.copied("run-1") as copy:
        assert copy.schema() == live.schema()
        assert copy.connection_url() == url.replace(live.name, copy.name)


LOOKS: dict[str, Callable[[PostgreSQL], Any]] = {
    "size": lambda database: database.size_bytes(),
    "schema": lambda database: database.schema(),
    "copy": lambda database: database.copied("run-1").__enter__(),
}


def failure(url: URL, look: Callable[[PostgreSQL], Any], **parts: Any) -> SlipwayError:
    """What is said of a database whose URL is wrong in these parts."""
    wrong = url.set(**parts).render_as_string(hide_password=False)
    with pytest.raises(SlipwayError) as failed:
        look(PostgreSQL(wrong))
    return failed.value


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS.keys())
def test_a_wrong_password(postgres: URL, look: Callable[[PostgreSQL], Any]) -> None:
    """A refused password is told with the user, never with the password."""
    error = failure(postgres, look, password="hunter2-wrong")
    assert 'password authentication failed for user "slipway"' in error.failed
    assert "hunter2-wrong" not in str(error)
    assert error.retry_is_safe


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS.keys())
def test_an_unknown_database(postgres: URL, look: Callable[[PostgreSQL], Any]) -> None:
    """A database that does not exist is named, and looking for it makes nothing."""
    error = failure(postgres, look, database="nowhere")
    assert 'database "nowhere" does not exist' in error.failed
    assert "server-secret" not in str(error)
    assert not exists(PostgreSQL(postgres.render_as_string(hide_password=False)), "slipway_copy_run-1")


def test_a_server_that_is_away(postgres: URL) -> None:
    """A server that does not answer is Unavailable: asking again may help."""
    [port] = free_ports([0])
    error = failure(postgres, LOOKS["size"], port=port)
    assert isinstance(error, Unavailable)
    assert error.failed.startswith("Database postgres: connection failed")
    assert error.failed.endswith("Connection refused.")
    assert error.expected == "A database that answers."


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("mysql+pymysql://shop:hunter2@db/shop", "mysql+pymysql is not a database that can be rehearsed."),
        ("sqlite:///shop.db", "sqlite is not a database that can be rehearsed."),
        ("hunter2", "The database URL cannot be read."),
        ("", "The database URL cannot be read."),
        ("postgresql://shop:hunter2@db:port/shop", "The database URL cannot be read."),
        ("postgresql://shop:hunter2@db", "The database URL names no database."),
    ],
)
def test_a_url_that_cannot_be_used(url: str, told: str) -> None:
    """What is no URL of a PostgreSQL database is refused before anything is connected to, and is not repeated."""
    with pytest.raises(InvalidInput) as refused:
        PostgreSQL(url)
    assert str(refused.value) == f"{told} Expected: postgresql+psycopg://… A retry is safe."
