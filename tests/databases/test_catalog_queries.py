"""What the catalogue and the planner tell, on a real PostgreSQL."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import psycopg
import pytest
from sqlalchemy import URL

from slipway.core.errors import Unavailable
from slipway.databases.catalog import Index, Query, QueryPlan
from slipway.databases.postgresql.catalog_queries import busiest_queries, explain, read_indexes, read_tables
from slipway.databases.postgresql.database import PostgreSQL
from slipway.deployments.ports import free_ports
from slipway.deployments.postgres import create_database, drop_database, server_part, server_url, url_on

SCHEMA = """
CREATE TABLE orders (id int PRIMARY KEY, code text UNIQUE, state text COLLATE "C", placed date, note text, during int4range,
    EXCLUDE USING gist (during WITH &&));
INSERT INTO orders SELECT n, 'c' || n, CASE n % 100 WHEN 0 THEN 'open' ELSE 'done' END, date '2020-01-01' + n % 1000
    FROM generate_series(1, 20000) AS n;
CREATE INDEX plain ON orders (state, placed);
CREATE INDEX ordered ON orders (state DESC, placed DESC NULLS LAST, id NULLS FIRST);
CREATE INDEX classed ON orders (code text_pattern_ops);
CREATE INDEX collated ON orders (note COLLATE "C", state COLLATE "POSIX");
CREATE INDEX expressed ON orders (lower(code), (id + 1)) INCLUDE (note) WHERE state = 'open' AND id > 5;
CREATE UNIQUE INDEX single ON orders (id, note) NULLS NOT DISTINCT;
CREATE INDEX listed ON orders USING gist (during range_ops);
CREATE SCHEMA sales;
CREATE TABLE sales."Big One" (id int, at date) PARTITION BY RANGE (at);
CREATE INDEX whole ON sales."Big One" (at);
CREATE TABLE sales.early PARTITION OF sales."Big One" FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
ANALYZE;
"""


def connect(database: PostgreSQL) -> psycopg.Connection[Any]:
    """A plain connection."""
    return psycopg.connect(database.connection_url().replace("+psycopg", ""), autocommit=True)


@pytest.fixture(scope="module")
def template(postgres: URL) -> Iterator[str]:
    """The name of a database with every kind of index, which is only copied."""
    name = f"template_{uuid.uuid4().hex[:12]}"
    create_database(postgres, name)
    with connect(PostgreSQL(url_on(postgres, name))) as connection:
        connection.execute(SCHEMA)
    yield name
    drop_database(postgres, name)


@pytest.fixture
def shop(postgres: URL, template: str) -> Iterator[PostgreSQL]:
    """A copy of that database, the test's own."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    create_database(postgres, name, template=template)
    yield PostgreSQL(url_on(postgres, name))
    drop_database(postgres, name)


def keys(indexes: tuple[Index, ...]) -> dict[str, tuple[str, ...]]:
    """The keys of each index by its name."""
    return {index.name: index.keys for index in indexes}


def test_the_keys_of_an_index_say_all_that_makes_it_another(shop: PostgreSQL) -> None:
    """Column or expression, and what is not the default: collation, operator class, order."""
    found = keys(read_indexes(shop))
    assert found["orders_pkey"] == ("id",)
    assert found["plain"] == ("state", "placed")
    assert found["ordered"] == ("state DESC", "placed DESC NULLS LAST", "id NULLS FIRST")
    assert found["classed"] == ("code text_pattern_ops",)
    assert found["collated"] == ('note COLLATE "C"', 'state COLLATE "POSIX"')
    assert found["expressed"] == ('lower(code) COLLATE "default"', "(id + 1)")
    assert found["listed"] == ("during",)


def test_what_else_an_index_is(shop: PostgreSQL) -> None:
    """Method, included columns, predicate, uniqueness, the constraint that it backs, its bytes, its partitions."""
    found = {index.name: index for index in read_indexes(shop)}
    assert [(found[name].constraint, found[name].unique) for name in ("orders_pkey", "orders_code_key", "plain")] == [
        ("primary key", True),
        ("unique", True),
        ("", False),
    ]
    assert (found["orders_during_excl"].constraint, found["orders_during_excl"].method) == ("exclusion", "gist")
    assert found["expressed"].included == ("note",)
    assert found["expressed"].predicate == "((state = 'open'::text) AND (id > 5))"
    assert (found["single"].nulls_distinct, found["plain"].nulls_distinct) == (False, True)
    assert found["plain"].bytes > 100_000
    assert all(index.valid for index in found.values())
    assert (found["whole"].partition, found["whole"].table) == ("whole", "sales.Big One")
    assert (found["early_at_idx"].partition, found["early_at_idx"].table) == ("part", "sales.early")
    assert {index.table for index in found.values()} == {"orders", "sales.Big One", "sales.early"}


def test_an_index_whose_build_failed_is_invalid(shop: PostgreSQL) -> None:
    """A concurrent build that fails leaves an index that is not valid."""
    with connect(shop) as connection, pytest.raises(psycopg.errors.UniqueViolation):
        connection.execute("CREATE UNIQUE INDEX CONCURRENTLY half ON orders (state)")
    assert [index.name for index in read_indexes(shop) if not index.valid] == ["half"]


def test_tables_and_their_sizes(shop: PostgreSQL) -> None:
    """Rows are the planner's estimate; the bytes of the table and of its indexes add up."""
    found = {table.table: table for table in read_tables(shop)}
    assert list(found) == ["orders", "sales.Big One", "sales.early"]
    orders = found["orders"]
    assert orders.rows == 20_000
    assert orders.bytes == orders.table_bytes + orders.index_bytes
    assert orders.index_bytes >= sum(index.bytes for index in read_indexes(shop) if index.table == "orders") > 0
    assert found["sales.early"].rows == 0


def plan(database: PostgreSQL, sql: str) -> QueryPlan:
    """The plan of one query."""
    [found] = explain(database, [Query(label="it", sql=sql)])
    return found


def test_plans(shop: PostgreSQL) -> None:
    """Each plan has its nodes from the top down, with tables, indexes, costs and rows."""
    narrow = plan(shop, "SELECT id FROM orders WHERE id BETWEEN 7 AND 8")
    [node] = narrow.nodes
    assert (node.type, node.table) == ("Index Only Scan", "orders")
    assert node.index in ("orders_pkey", "single")  # both begin with the id
    assert (narrow.rows, narrow.cost) == (node.rows, node.cost)
    wide = plan(shop, "SELECT count(*) FROM orders WHERE note IS NULL")
    assert [(node.type, node.table) for node in wide.nodes] == [("Aggregate", ""), ("Seq Scan", "orders")]
    mapped = plan(shop, "SELECT * FROM orders WHERE id = 7 OR code = 'c9'")
    assert [(node.type, node.table) for node in mapped.nodes] == [
        ("Bitmap Heap Scan", "orders"),
        ("BitmapOr", ""),
        ("Bitmap Index Scan", "orders"),
        ("Bitmap Index Scan", "orders"),
    ]
    elsewhere = plan(shop, "SELECT * FROM sales.early")
    assert [node.table for node in elsewhere.nodes] == ["sales.early"]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM orders WHERE id = $1 AND code = $2",
        "  -- of the shop\n/* DROP */ select 1 from orders where note like '%:x' and id = $1",
        "(SELECT 1) UNION (SELECT $1::int)",
        "UPDATE orders SET note = $1 WHERE id = $2",
        "DELETE FROM orders WHERE id = $1;",
        "INSERT INTO orders (id) SELECT $1",
        "WITH old AS (DELETE FROM orders RETURNING id) SELECT * FROM old",
    ],
)
def test_what_can_be_planned(shop: PostgreSQL, sql: str) -> None:
    """Placeholders stay open, comments may stand before, and nothing is executed."""
    found = plan(shop, sql)
    assert (found.error, bool(found.nodes)) == ("", True)
    with connect(shop) as connection:
        assert connection.execute("SELECT count(*), count(note) FROM orders").fetchone() == (20_000, 0)


@pytest.mark.parametrize(
    ("sql", "error"),
    [
        ("SELECT * FROM nowhere", 'relation "nowhere" does not exist'),
        ("SELECT FROM WHERE", 'syntax error at or near "WHERE"'),
        ("SELECT 1; COMMIT; DROP TABLE orders", "cannot insert multiple commands into a prepared statement"),
        ("DROP TABLE orders", "only SELECT, INSERT, UPDATE, DELETE and WITH have a plan"),
        ("ANALYZE DELETE FROM orders", "only SELECT, INSERT, UPDATE, DELETE and WITH have a plan"),
        ("", "only SELECT, INSERT, UPDATE, DELETE and WITH have a plan"),
        ("-- DELETE FROM orders", "only SELECT, INSERT, UPDATE, DELETE and WITH have a plan"),
    ],
)
def test_what_cannot_be_planned(shop: PostgreSQL, sql: str, error: str) -> None:
    """The error stands in place of the plan, the other queries still have theirs, and nothing is executed."""
    bad, good = explain(shop, [Query(label="bad", sql=sql), Query(label="good", sql="SELECT 1 FROM orders")])
    assert bad == QueryPlan(query="bad", error=error)
    assert good.nodes
    assert "orders" in [table.table for table in read_tables(shop)]


def test_planning_waits_for_no_lock_long(shop: PostgreSQL) -> None:
    """A table that somebody has locked is an error of that query."""
    with connect(shop) as busy, busy.transaction():
        busy.execute("LOCK TABLE orders")
        assert plan(shop, "SELECT * FROM orders").error == "canceling statement due to lock timeout"


def test_without_pg_stat_statements(shop: PostgreSQL) -> None:
    """The reason is told when the extension is not there, or is there and not loaded."""
    assert busiest_queries(shop, 5).unknown == "The extension pg_stat_statements is not installed in the database."
    with connect(shop) as connection:
        connection.execute('CREATE SCHEMA "Seen"; CREATE EXTENSION pg_stat_statements SCHEMA "Seen"')
    found = busiest_queries(shop, 5)
    assert found.queries == ()
    assert found.unknown == (
        'pg_stat_statements cannot be read: pg_stat_statements must be loaded via "shared_preload_libraries".'
    )


@pytest.fixture
def counting(tmp_path: Path) -> Iterator[URL]:
    """A server of the test's own that has pg_stat_statements loaded."""
    [port] = free_ports([0])
    server = server_part(tmp_path, port, "server-secret", log=tmp_path / "log", durable=False)
    with (tmp_path / "data" / "postgresql.conf").open("a") as settings:
        settings.write("shared_preload_libraries = 'pg_stat_statements'\n")
    server.start()
    try:
        server.wait_until_ready(Event())
        yield server_url(port, "server-secret")
    finally:
        server.stop()


def test_the_busiest_queries(counting: URL) -> None:
    """Those that took most time come first, with placeholders, and can be planned; who may not see them is told so."""
    database = PostgreSQL(counting.render_as_string(hide_password=False))
    with connect(database) as connection:
        connection.execute("CREATE EXTENSION pg_stat_statements; CREATE TABLE busy (id int); CREATE ROLE guest LOGIN")
        connection.execute("ALTER ROLE guest PASSWORD 'x'")
        connection.execute("INSERT INTO busy SELECT generate_series(1, 50000)")
        for _ in range(3):
            connection.execute("SELECT count(*) FROM busy a WHERE id % 7 = 3")
        # Which statement took longer depends on the machine.
        by_time = (
            "SELECT query FROM pg_stat_statements WHERE query ~ 'FROM busy|INTO busy' ORDER BY total_exec_time DESC"
        )
        expected = [row[0] for row in connection.execute(by_time)]
    found = [query for query in busiest_queries(database, 100).queries if "busy" in query.label]
    assert [query.label for query in found] == expected
    assert {plan.query: plan.error for plan in explain(database, found)} == {
        "INSERT INTO busy SELECT generate_series($1, $2)": "function generate_series(unknown, unknown) is not unique",
        "SELECT count(*) FROM busy a WHERE id % $1 = $2": "",
    }  # without its literals the function has no types
    assert len(busiest_queries(database, 1).queries) == 1
    guest = PostgreSQL(counting.set(username="guest", password="x").render_as_string(hide_password=False))
    told = busiest_queries(guest, 100)
    assert told.queries == ()
    assert told.unknown == "The user may not see what others ran, for which it needs pg_read_all_stats."


def test_a_database_that_is_away(postgres: URL) -> None:
    """Each look says that the database does not answer."""
    [port] = free_ports([0])
    away = PostgreSQL(postgres.set(port=port).render_as_string(hide_password=False))
    for look in (read_indexes, read_tables, lambda it: busiest_queries(it, 1), lambda it: explain(it, [])):
        with pytest.raises(Unavailable, match="Connection refused"):
            look(away)
