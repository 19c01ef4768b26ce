"""Reading the catalog and query plans of a real PostgreSQL."""

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
    """Return a plain connection."""
    return psycopg.connect(database.connection_url().replace("+psycopg", ""), autocommit=True)


@pytest.fixture(scope="module")
def template(postgres: URL) -> Iterator[str]:
    """Create a template database with every kind of index, and return its name."""
    name = f"template_{uuid.uuid4().hex[:12]}"
    create_database(postgres, name)
    with connect(PostgreSQL(url_on(postgres, name))) as connection:
        connection.execute(SCHEMA)
    yield name
    drop_database(postgres, name)


@pytest.fixture
def shop(postgres: URL, template: str) -> Iterator[PostgreSQL]:
    """Return a copy of the template for one test."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    create_database(postgres, name, template=template)
    yield PostgreSQL(url_on(postgres, name))
    drop_database(postgres, name)


def keys(indexes: tuple[Index, ...]) -> dict[str, tuple[str, ...]]:
    """Return the keys of each index by its name."""
    return {index.name: index.keys for index in indexes}


def test_index_keys_include_everything_that_distinguishes_indexes(shop: PostgreSQL) -> None:
    """A key is a column or an expression, with the collation, operator class and order that are not the default."""
    index_keys = keys(read_indexes(shop))
    assert index_keys["orders_pkey"] == ("id",)
    assert index_keys["plain"] == ("state", "placed")
    assert index_keys["ordered"] == ("state DESC", "placed DESC NULLS LAST", "id NULLS FIRST")
    assert index_keys["classed"] == ("code text_pattern_ops",)
    assert index_keys["collated"] == ('note COLLATE "C"', 'state COLLATE "POSIX"')
    assert index_keys["expressed"] == ('lower(code) COLLATE "default"', "(id + 1)")
    assert index_keys["listed"] == ("during",)


def test_index_has_its_other_properties(shop: PostgreSQL) -> None:
    """They are method, included columns, predicate, uniqueness, constraint, size and partitioning."""
    indexes = {index.name: index for index in read_indexes(shop)}
    assert [
        (indexes[name].constraint, indexes[name].unique) for name in ("orders_pkey", "orders_code_key", "plain")
    ] == [
        ("primary key", True),
        ("unique", True),
        ("", False),
    ]
    assert (indexes["orders_during_excl"].constraint, indexes["orders_during_excl"].method) == ("exclusion", "gist")
    assert indexes["expressed"].included == ("note",)
    assert indexes["expressed"].predicate == "((state = 'open'::text) AND (id > 5))"
    assert (indexes["single"].nulls_distinct, indexes["plain"].nulls_distinct) == (False, True)
    assert indexes["plain"].bytes > 100_000
    assert all(index.valid for index in indexes.values())
    assert (indexes["whole"].partition, indexes["whole"].table) == ("whole", "sales.Big One")
    assert (indexes["early_at_idx"].partition, indexes["early_at_idx"].table) == ("part", "sales.early")
    assert {index.table for index in indexes.values()} == {"orders", "sales.Big One", "sales.early"}


def test_an_index_whose_build_failed_is_invalid(shop: PostgreSQL) -> None:
    """A failed concurrent build leaves an invalid index."""
    with connect(shop) as connection, pytest.raises(psycopg.errors.UniqueViolation):
        connection.execute("CREATE UNIQUE INDEX CONCURRENTLY half ON orders (state)")
    assert [index.name for index in read_indexes(shop) if not index.valid] == ["half"]


def test_tables_have_their_sizes(shop: PostgreSQL) -> None:
    """Rows are the planner's estimate. The size is the sum of the table and its indexes."""
    tables = {table.table: table for table in read_tables(shop)}
    assert list(tables) == ["orders", "sales.Big One", "sales.early"]
    orders = tables["orders"]
    assert orders.rows == 20_000
    assert orders.bytes == orders.table_bytes + orders.index_bytes
    assert orders.index_bytes >= sum(index.bytes for index in read_indexes(shop) if index.table == "orders") > 0
    assert tables["sales.early"].rows == 0


def plan(database: PostgreSQL, sql: str) -> QueryPlan:
    """Return the plan of one query."""
    [query_plan] = explain(database, [Query(label="it", sql=sql)])
    return query_plan


def test_plan_has_its_nodes(shop: PostgreSQL) -> None:
    """The nodes are ordered from the top down, with tables, indexes, costs and rows."""
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
    other_schema = plan(shop, "SELECT * FROM sales.early")
    assert [node.table for node in other_schema.nodes] == ["sales.early"]


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
def test_explain_plans_without_executing(shop: PostgreSQL, sql: str) -> None:
    """Placeholders need no values, comments may come first, and nothing is executed."""
    query_plan = plan(shop, sql)
    assert (query_plan.error, bool(query_plan.nodes)) == ("", True)
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
def test_explain_returns_the_error_of_a_query(shop: PostgreSQL, sql: str, error: str) -> None:
    """The plan contains the error, other queries still get their plans, and nothing is executed."""
    bad, good = explain(shop, [Query(label="bad", sql=sql), Query(label="good", sql="SELECT 1 FROM orders")])
    assert bad == QueryPlan(query="bad", error=error)
    assert good.nodes
    assert "orders" in [table.table for table in read_tables(shop)]


def test_planning_has_a_lock_timeout(shop: PostgreSQL) -> None:
    """If another session has locked the table, the plan contains an error."""
    with connect(shop) as busy, busy.transaction():
        busy.execute("LOCK TABLE orders")
        assert plan(shop, "SELECT * FROM orders").error == "canceling statement due to lock timeout"


def test_busiest_queries_are_unknown_without_pg_stat_statements(shop: PostgreSQL) -> None:
    """The result contains the reason if the extension is not installed, or is installed but not loaded."""
    assert busiest_queries(shop, 5).unknown == "The extension pg_stat_statements is not installed in the database."
    with connect(shop) as connection:
        connection.execute('CREATE SCHEMA "Seen"; CREATE EXTENSION pg_stat_statements SCHEMA "Seen"')
    busiest = busiest_queries(shop, 5)
    assert busiest.queries == ()
    assert busiest.unknown == (
        'Could not read pg_stat_statements: pg_stat_statements must be loaded via "shared_preload_libraries".'
    )


@pytest.fixture
def counting(tmp_path: Path) -> Iterator[URL]:
    """Start a server for the test that has loaded pg_stat_statements."""
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


def test_busiest_queries_are_ordered_by_time(counting: URL) -> None:
    """The slowest queries come first, with placeholders, and can be planned. A role without rights gets the reason."""
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
    busiest = [query for query in busiest_queries(database, 100).queries if "busy" in query.label]
    assert [query.label for query in busiest] == expected
    assert {plan.query: plan.error for plan in explain(database, busiest)} == {
        "INSERT INTO busy SELECT generate_series($1, $2)": "function generate_series(unknown, unknown) is not unique",
        "SELECT count(*) FROM busy a WHERE id % $1 = $2": "",
    }  # the placeholders of the function have no types
    assert len(busiest_queries(database, 1).queries) == 1
    guest = PostgreSQL(counting.set(username="guest", password="x").render_as_string(hide_password=False))
    without_rights = busiest_queries(guest, 100)
    assert without_rights.queries == ()
    assert without_rights.unknown == "The role cannot see the queries of other roles. It needs pg_read_all_stats."


def test_functions_raise_unavailable_without_a_server(postgres: URL) -> None:
    """Every function raises `Unavailable` if the database does not answer."""
    [port] = free_ports([0])
    stopped = PostgreSQL(postgres.set(port=port).render_as_string(hide_password=False))
    for read in (read_indexes, read_tables, lambda it: busiest_queries(it, 1), lambda it: explain(it, [])):
        with pytest.raises(Unavailable, match="Connection refused"):
            read(stopped)
