"""Watching what a migration does, from another process: psql, or a driver."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url

from slipway.adapters.databases.catalogue import read_tables
from slipway.adapters.databases.postgresql import PostgreSQL, client_tools
from slipway.adapters.databases.watching import Watch, watched
from slipway.catalogue import Statement, strength
from slipway.errors import Unavailable

SCHEMA = """
CREATE TABLE orders (id int PRIMARY KEY, state text, cents int);
INSERT INTO orders SELECT n, 'done', n FROM generate_series(1, 5000) AS n;
CREATE TABLE customer (id int PRIMARY KEY, name text);
INSERT INTO customer SELECT n, 'name ' || n FROM generate_series(1, 100) AS n;
"""


def plain(database: PostgreSQL) -> str:
    """The URL as libpq reads it."""
    return database.connection_url().replace("+psycopg", "")


def connect(database: PostgreSQL) -> psycopg.Connection[Any]:
    """A plain connection."""
    return psycopg.connect(plain(database), autocommit=True)


def psql(database: PostgreSQL, script: str) -> int:
    """Run a script by psql, as migrations by script are; its exit code."""
    argv = [str(client_tools() / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", plain(database)]
    return subprocess.run(argv, input=script, text=True, capture_output=True, timeout=60).returncode


@pytest.fixture
def copy(database: str) -> PostgreSQL:
    """A database with two tables."""
    found = PostgreSQL(database)
    with connect(found) as connection:
        connection.execute(SCHEMA)
    return found


def by_start(watch: Watch, start: str) -> Statement:
    """The one statement that begins so."""
    [found] = [statement for statement in watch.statements if statement.sql.startswith(start)]
    return found


def modes(statement: Statement) -> list[tuple[str, str]]:
    """Its locks without their times."""
    return [(lock.table, lock.mode) for lock in statement.locks]


def strongest(watch: Watch) -> list[tuple[str, str]]:
    """The strongest lock on each table, by table."""
    locks = [lock for statement in watch.statements for lock in statement.locks]
    by_strength = sorted(locks, key=lambda lock: strength(lock.mode))
    return sorted({lock.table: lock.mode for lock in by_strength}.items())


def test_a_script_in_a_transaction(copy: PostgreSQL) -> None:
    """Every statement has its time and rows, and the strongest lock on each table, held to the transaction's end."""
    script = """
        BEGIN;
        ALTER TABLE orders ADD COLUMN note text;
        UPDATE orders SET note = 'x; y' WHERE id <= 1200;
        SELECT pg_sleep(0.3);
        DELETE FROM customer WHERE id > 90;
        CREATE INDEX orders_note ON orders (note);
        CREATE TABLE fresh (id int);
        COMMIT;
    """
    with watched(copy) as watch:
        assert psql(watch.database, script) == 0
    assert watch.unseen == ""
    assert [statement.sql.split()[0] for statement in watch.statements] == [
        *("ALTER", "UPDATE", "SELECT", "DELETE", "CREATE", "CREATE"),
    ]
    altered = by_start(watch, "ALTER")
    assert (altered.rows, modes(altered)) == (None, [("orders", "ACCESS EXCLUSIVE")])
    assert altered.locks[0].held_s >= 0.3
    assert altered.locks[0].held_s > altered.seconds
    updated = by_start(watch, "UPDATE")
    assert updated.sql == "UPDATE orders SET note = 'x; y' WHERE id <= 1200"
    assert (updated.rows, modes(updated)) == (1200, [("orders", "ROW EXCLUSIVE")])
    assert by_start(watch, "SELECT").seconds >= 0.3
    deleted = by_start(watch, "DELETE")
    assert (deleted.rows, modes(deleted)) == (10, [("customer", "ROW EXCLUSIVE")])
    assert deleted.locks[0].held_s < altered.locks[0].held_s
    assert modes(by_start(watch, "CREATE INDEX")) == [("orders", "SHARE")]
    assert strongest(watch) == [
        ("customer", "ROW EXCLUSIVE"),
        ("orders", "ACCESS EXCLUSIVE"),
    ]
    assert watch.rewritten == ()


def test_a_statement_outside_a_transaction(copy: PostgreSQL) -> None:
    """Its locks are seen while it runs, and end with it."""
    with watched(copy) as watch:
        assert psql(watch.database, "UPDATE orders SET cents = 1 WHERE id = 7 AND pg_sleep(0.3) IS NOT NULL;") == 0
    [updated] = watch.statements
    assert (updated.rows, modes(updated)) == (1, [("orders", "ROW EXCLUSIVE")])
    assert 0 < updated.locks[0].held_s <= updated.seconds


def test_statements_that_are_sent_as_one(copy: PostgreSQL) -> None:
    """They are one, with their rows and locks together, also when the first begins a transaction."""
    several = "BEGIN; UPDATE orders SET cents = 1 WHERE id < 8; DELETE FROM customer WHERE id < 3; SELECT 1"
    with watched(copy) as watch, connect(watch.database) as connection:
        connection.execute(several)
        connection.execute("COMMIT")
    [statement] = watch.statements
    assert (statement.sql, statement.rows, statement.calls) == (several, 7 + 2 + 1, 1)
    assert modes(statement) == [("customer", "ROW EXCLUSIVE"), ("orders", "ROW EXCLUSIVE")]


def test_concurrent_indexes_work_while_watched(copy: PostgreSQL) -> None:
    """What must not stand in a transaction, or be first in it, is not disturbed."""
    script = """
        CREATE INDEX CONCURRENTLY by_state ON orders (state);
        DROP INDEX CONCURRENTLY by_state;
        VACUUM orders;
    """
    with watched(copy) as watch:
        assert psql(watch.database, script) == 0
    assert [statement.sql.split()[0] for statement in watch.statements] == ["CREATE", "DROP", "VACUUM"]


@pytest.mark.parametrize(
    ("script", "rewritten"),
    [
        ("ALTER TABLE orders ALTER cents TYPE bigint", ("orders",)),
        ("ALTER TABLE orders ADD COLUMN token uuid DEFAULT gen_random_uuid()", ("orders",)),
        (
            "ALTER TABLE orders RENAME TO sold; ALTER TABLE sold ADD COLUMN at timestamptz DEFAULT clock_timestamp()",
            ("sold",),
        ),
        ("VACUUM FULL customer", ("customer",)),
        ("ALTER TABLE orders ADD COLUMN size int DEFAULT 3", ()),
        ("ALTER TABLE orders ALTER state TYPE varchar", ()),
        ("TRUNCATE customer", ()),
        ("DROP TABLE customer; CREATE TABLE customer (id int)", ()),
    ],
)
def test_rewrites(copy: PostgreSQL, script: str, rewritten: tuple[str, ...]) -> None:
    """The tables that were written anew are named, and no others."""
    with watched(copy) as watch:
        assert psql(watch.database, script) == 0
    assert watch.rewritten == rewritten


def test_watching_leaves_nothing_behind(copy: PostgreSQL) -> None:
    """Schema and connections are as before."""
    before, threads = copy.schema(), threading.active_count()
    with watched(copy) as watch:
        assert psql(watch.database, "SELECT 1") == 0
        assert copy.schema() == before
    assert copy.schema() == before
    assert threading.active_count() == threads
    with pytest.raises(psycopg.OperationalError):
        connect(watch.database)


def test_a_driver_that_prepares_statements(copy: PostgreSQL) -> None:
    """The extended protocol: placeholders instead of values, calls added up, a failed statement and those after it."""
    with watched(copy) as watch, psycopg.connect(plain(watch.database)) as connection:
        for number in range(8):  # psycopg prepares on the server from the sixth on
            connection.execute("UPDATE orders SET state = %s WHERE id <= %s", ("hidden-value", number))
        connection.commit()
        with pytest.raises(psycopg.errors.DivisionByZero):
            connection.execute("SELECT 1 / %s", (0,))
        connection.rollback()
        with connection.pipeline():
            connection.execute("INSERT INTO customer VALUES (1000, 'a'), (1001, 'b')")
            connection.execute("DELETE FROM customer WHERE id = 1000")
        with connection.cursor().copy("COPY customer FROM STDIN") as into:
            into.write("2000\tc\n2001\td\n2002\te\n")
        connection.commit()
    assert [(statement.sql, statement.calls, statement.rows) for statement in watch.statements] == [
        ("UPDATE orders SET state = $1 WHERE id <= $2", 8, 28),
        ("SELECT 1 / $1", 1, None),
        ("INSERT INTO customer VALUES (1000, 'a'), (1001, 'b')", 1, 2),
        ("DELETE FROM customer WHERE id = 1000", 1, 1),
        ("COPY customer FROM STDIN", 1, 3),
    ]
    assert modes(watch.statements[0]) == [("orders", "ROW EXCLUSIVE")]
    assert modes(watch.statements[4]) == [] or watch.statements[4].locks[0].table == "customer"
    assert watch.unseen == ""


def test_no_password_is_kept(copy: PostgreSQL) -> None:
    """Neither that of a role, nor one in a URL, nor the connection's own; the text is shortened."""
    script = f"""
        SELECT 'postgresql://shop:hunter2@db/shop', 'server-secret';
        SET LOCAL x.y = 1;
        CREATE ROLE somebody_{os.getpid()} PASSWORD 'hunter''3';
        DROP ROLE somebody_{os.getpid()};
        SELECT '{"long" * 200}';
    """
    with watched(copy) as watch:
        assert psql(watch.database, script) == 0
    texts = [statement.sql for statement in watch.statements]
    assert texts[:2] == [
        "SELECT 'postgresql://shop:***@db/shop', '***'",
        f"CREATE ROLE somebody_{os.getpid()} PASSWORD '***'",
    ]
    assert (len(texts[3]), texts[3][-1]) == (500, "…")


def test_a_script_that_fails(copy: PostgreSQL) -> None:
    """What ran until then is there, the failed statement too; the client gets its error and its exit code."""
    with watched(copy) as watch:
        assert psql(watch.database, "BEGIN; TRUNCATE customer; SELECT 1 / 0; DELETE FROM orders; COMMIT;") == 3
    assert [statement.sql for statement in watch.statements] == ["TRUNCATE customer", "SELECT 1 / 0"]
    assert modes(watch.statements[0]) == [("customer", "ACCESS EXCLUSIVE")]
    assert {table.table for table in read_tables(copy)} == {"customer", "orders"}


def test_an_error_in_the_block_goes_on(copy: PostgreSQL) -> None:
    """What was seen until then is kept, and the error is not hidden."""
    with pytest.raises(psycopg.errors.DivisionByZero), watched(copy) as watch, connect(watch.database) as connection:
        connection.execute("DELETE FROM customer").connection.execute("SELECT 1 / 0")
    assert [statement.rows for statement in watch.statements] == [100, None]


def test_a_session_that_is_ended_from_outside(copy: PostgreSQL) -> None:
    """A client whose session is ended sees its connection end, and watching goes on."""
    with watched(copy) as watch:
        with connect(watch.database) as connection:
            pid = connection.info.backend_pid
            with connect(copy) as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")
        assert psql(watch.database, "DELETE FROM customer") == 0
    assert "DELETE FROM customer" in [statement.sql for statement in watch.statements]


@pytest.fixture
def elsewhere(copy: PostgreSQL, tmp_path: Path) -> PostgreSQL:
    """The copy by a URL whose password stands in a file, for its own host and port alone."""
    url = make_url(copy.connection_url())
    passwords = tmp_path / "passwords"
    passwords.touch(mode=0o600)
    passwords.write_text(f"{url.host}:{url.port}:*:{url.username}:{url.password}", encoding="utf-8")
    without = url._replace(password=None).update_query_dict({"passfile": str(passwords)})
    return PostgreSQL(without.render_as_string(hide_password=False))


def test_sampling_where_the_relay_cannot_be_used(elsewhere: PostgreSQL) -> None:
    """The migration gets the server's own address, what runs is sampled, and the watch says why."""
    script = """
        BEGIN;
        UPDATE orders SET cents = 1 WHERE id = 7 AND pg_sleep(0.3) IS NOT NULL;
        LOCK TABLE customer;
        SELECT pg_sleep(0.3);
        COMMIT;
    """
    with watched(elsewhere) as watch:
        assert watch.database is elsewhere
        assert psql(watch.database, script) == 0
    assert watch.unseen.startswith("Statements are sampled, and short ones may be missing. Database test_")
    updated = by_start(watch, "UPDATE")
    assert (updated.rows, modes(updated)) == (None, [("orders", "ROW EXCLUSIVE")])
    assert updated.seconds > 0.1
    assert updated.locks[0].held_s > updated.seconds
    slept = by_start(watch, "SELECT pg_sleep(0.3)")
    assert slept.seconds > 0.1
    assert strongest(watch) == [
        ("customer", "ACCESS EXCLUSIVE"),
        ("orders", "ROW EXCLUSIVE"),
    ]


def test_a_watch_that_goes_blind(copy: PostgreSQL) -> None:
    """When the watch's own session is ended, the migration goes on, statements are still heard, and the watch says it."""
    with watched(copy) as watch:
        with connect(copy) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE application_name = 'slipway-watch' AND datname = current_database()"
            )
        assert psql(watch.database, "BEGIN; DELETE FROM customer; COMMIT") == 0
    assert [(statement.sql, statement.rows) for statement in watch.statements] == [("DELETE FROM customer", 100)]
    assert watch.unseen.startswith("Watching the locks broke off: ")


def test_a_database_that_is_away(copy: PostgreSQL) -> None:
    """Nothing is run when the watch cannot begin."""
    away = PostgreSQL(make_url(copy.connection_url()).set(database="nowhere").render_as_string(hide_password=False))
    with pytest.raises(Unavailable, match='database "nowhere" does not exist'), watched(away):
        pytest.fail("a database that does not exist was watched")


def test_more_statements_than_are_kept(copy: PostgreSQL) -> None:
    """A migration that writes row by row has a text a row: how many were not kept is told."""
    script = "\n".join(f"UPDATE orders SET cents = {number} WHERE id = {number};" for number in range(1_003))
    with watched(copy) as watch:
        assert psql(watch.database, f"BEGIN;\n{script}\nCOMMIT;") == 0
    assert watch.left_out == 3
    assert watch.unseen == "3 statements came behind 1,000 different ones, and were not kept."
