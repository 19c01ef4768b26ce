"""Read indexes, tables, query plans and the busiest queries from PostgreSQL, each with one query."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.pq import ExecStatus
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from slipway.core.errors import Unavailable
from slipway.databases.catalog import BusiestQueries, Index, PlanNode, Query, QueryPlan, TableSize
from slipway.databases.database import DRIVER, TABLE
from slipway.databases.postgresql.database import PostgreSQL

PLAN_TIMEOUT_MS = 5_000  # per query; planning takes milliseconds, so a longer time means that it waits for a lock
SHOWN_QUERY = 200
OURS = "n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'"

# pg_get_indexdef(index, column, true) leaves out operator class, collation and order. The query adds them, because two
# keys are only equal if all of these are equal.
INDEXES = rf"""
    SELECT found.table, name, method, parts[1 : indnkeyatts] AS keys, parts[indnkeyatts + 1 : indnatts] AS included, "unique",
        "constraint", valid, predicate, nulls_distinct, partition, bytes, scans, counted_since
    FROM (
        SELECT {TABLE} AS table, i.relname AS name, a.amname AS method, x.indnkeyatts, x.indnatts, x.indisunique AS unique,
            CASE c.contype WHEN 'p' THEN 'primary key' WHEN 'u' THEN 'unique' WHEN 'x' THEN 'exclusion' ELSE '' END
                AS constraint,
            x.indisvalid AND x.indisready AS valid, coalesce(pg_get_expr(x.indpred, x.indrelid), '') AS predicate,
            NOT coalesce((to_jsonb(x) ->> 'indnullsnotdistinct')::boolean, false) AS nulls_distinct,
            CASE WHEN i.relkind = 'I' THEN 'whole' WHEN i.relispartition THEN 'part' ELSE '' END AS partition,
            coalesce(pg_relation_size(i.oid), 0) AS bytes, pg_stat_get_numscans(i.oid) AS scans,
            pg_stat_get_db_stat_reset_time((SELECT oid FROM pg_database WHERE datname = current_database()))
                AS counted_since,
            ARRAY(
                SELECT pg_get_indexdef(i.oid, at, true)
                    || coalesce(
                        ' COLLATE ' || nullif(x.indcollation[at - 1], coalesce(col.attcollation, 0))::regcollation, ''
                    )
                    || CASE WHEN o.opcdefault IS FALSE OR own.attoptions IS NOT NULL THEN ' ' || o.opcname ELSE '' END
                    || coalesce(' (' || array_to_string(own.attoptions, ', ') || ')', '')
                    || CASE WHEN x.indoption[at - 1] & 1 = 1 THEN ' DESC' ELSE '' END
                    || CASE x.indoption[at - 1] & 3 WHEN 1 THEN ' NULLS LAST' WHEN 2 THEN ' NULLS FIRST' ELSE '' END
                FROM generate_series(1, x.indnatts) AS at
                LEFT JOIN pg_attribute own ON own.attrelid = i.oid AND own.attnum = at
                LEFT JOIN pg_opclass o ON o.oid = x.indclass[at - 1]
                LEFT JOIN pg_attribute col
                    ON col.attrelid = x.indrelid AND col.attnum = x.indkey[at - 1] AND col.attnum > 0
                ORDER BY at
            ) AS parts
        FROM pg_index x
        JOIN pg_class i ON i.oid = x.indexrelid
        JOIN pg_class t ON t.oid = x.indrelid
        JOIN pg_namespace n ON n.oid = t.relnamespace
        JOIN pg_am a ON a.oid = i.relam
        LEFT JOIN pg_constraint c ON c.conindid = i.oid AND c.contype IN ('p', 'u', 'x')
        WHERE {OURS} AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index AS building WHERE building.index_relid = i.oid)
    ) AS found
    ORDER BY 1, 2
"""  # noqa: S608 - put together from constants

TABLES = f"""
    SELECT {TABLE} AS table, greatest(t.reltuples, 0)::bigint AS rows,
        pg_total_relation_size(t.oid) AS bytes, pg_table_size(t.oid) AS table_bytes, pg_indexes_size(t.oid) AS index_bytes
    FROM pg_class t JOIN pg_namespace n ON n.oid = t.relnamespace
    WHERE t.relkind IN ('r', 'm', 'p') AND {OURS} ORDER BY 1
"""  # noqa: S608 - put together from constants

# pg_stat_statements has one row per query and user, so the query groups by text. DDL is left out: it has no plan.
BUSIEST = r"""
    SELECT query FROM {schema}.pg_stat_statements
    WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND (query = '<insufficient privilege>' OR query ~* '^[\s(]*(select|insert|update|delete|with)\M')
    GROUP BY query ORDER BY sum({time}) DESC LIMIT :limit
"""
EXTENSION = """
    SELECT quote_ident(n.nspname) AS schema, string_to_array(e.extversion, '.')::int[] >= '{1,8}' AS recent
    FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements'
"""
COMMENTS = re.compile(r"(\s|--[^\n]*(\n|$)|/\*.*?\*/|\()*", re.DOTALL)
PLANNED = re.compile(r"(select|insert|update|delete|with)\b", re.IGNORECASE)


def read_indexes(database: PostgreSQL) -> tuple[Index, ...]:
    """Return every index outside the system schemas, ordered by table and name. Raises Unavailable."""
    with _reading(database) as connection:
        return tuple(Index.model_validate(dict(row)) for row in connection.execute(text(INDEXES)).mappings())


def read_tables(database: PostgreSQL) -> tuple[TableSize, ...]:
    """Return every table outside the system schemas. Row numbers are from the last ANALYZE. Raises Unavailable."""
    with _reading(database) as connection:
        return tuple(TableSize.model_validate(dict(row)) for row in connection.execute(text(TABLES)).mappings())


def busiest_queries(database: PostgreSQL, limit: int) -> BusiestQueries:
    """Return the queries with the most time in pg_stat_statements, or why they are unknown. Raises Unavailable."""
    with _reading(database) as connection:
        extension = connection.execute(text(EXTENSION)).one_or_none()
        if extension is None:
            return BusiestQueries(unknown="The extension pg_stat_statements is not installed in the database.")
        query = BUSIEST.format(schema=extension.schema, time="total_exec_time" if extension.recent else "total_time")
        try:
            texts = [str(row.query) for row in connection.execute(text(query), {"limit": limit})]
        except SQLAlchemyError as error:
            return BusiestQueries(unknown=f"Could not read pg_stat_statements: {_reason(error)}.")
    if "<insufficient privilege>" in texts:
        return BusiestQueries(unknown="The role cannot see the queries of other roles. It needs pg_read_all_stats.")
    return BusiestQueries(queries=tuple(Query(label=" ".join(sql.split())[:SHOWN_QUERY], sql=sql) for sql in texts))


def explain(database: PostgreSQL, queries: Sequence[Query]) -> tuple[QueryPlan, ...]:
    """Return the plan of each query without executing the query, or the error if the query cannot be planned.

    Queries with placeholders ($1) get a generic plan, which needs PostgreSQL 16 or newer. The transaction is read-only,
    limits the time of locks and statements, and is rolled back. Raises Unavailable if the database does not answer.
    """
    with _reading(database) as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)  # DRIVER
        driver.execute(f"SET LOCAL statement_timeout = {PLAN_TIMEOUT_MS}")
        driver.execute(f"SET LOCAL lock_timeout = {PLAN_TIMEOUT_MS // 5}")
        return tuple(_plan(driver, query) for query in queries)


def _plan(driver: psycopg.Connection[Any], query: Query) -> QueryPlan:
    start = COMMENTS.match(query.sql)
    if not PLANNED.match(query.sql, start.end() if start else 0):
        return QueryPlan(query=query.label, error="only SELECT, INSERT, UPDATE, DELETE and WITH have a plan")
    try:
        with driver.transaction(force_rollback=True):
            _parse(driver, query.sql)
            generic = ", GENERIC_PLAN" if driver.info.server_version >= 160_000 else ""
            explained = f"EXPLAIN (FORMAT JSON, VERBOSE{generic}) {query.sql}"
            row = driver.execute(explained.encode()).fetchone()
    except psycopg.Error as error:
        if driver.closed:
            raise
        return QueryPlan(query=query.label, error=_reason(error))
    assert row is not None  # EXPLAIN returns one row
    top = row[0][0]["Plan"]
    return QueryPlan(query=query.label, cost=top["Total Cost"], rows=top["Plan Rows"], nodes=tuple(_nodes(top)))


def _parse(driver: psycopg.Connection[Any], sql: str) -> None:
    """Let the server parse the text with the extended protocol, which executes nothing and rejects a second statement.

    EXPLAIN itself needs the simple protocol, which allows placeholders without values, but would run a second statement.
    """
    parsed = driver.pgconn.prepare(b"", sql.encode())
    if parsed.status != ExecStatus.COMMAND_OK:
        raise psycopg.errors.error_from_result(parsed)


def _nodes(node: dict[str, Any], heap: str = "") -> Iterator[PlanNode]:
    """Yield the nodes from the top down. A Bitmap Index Scan gets the table of the Bitmap Heap Scan above it."""
    schema, relation = node.get("Schema", "public"), node.get("Relation Name", "")
    table = relation if schema == "public" else f"{schema}.{relation}"
    yield PlanNode(
        type=node["Node Type"],
        table=table if relation else heap if node["Node Type"] == "Bitmap Index Scan" else "",
        index=node.get("Index Name", ""),
        cost=node["Total Cost"],
        rows=node["Plan Rows"],
    )
    for child in node.get("Plans", ()):
        yield from _nodes(child, table if node["Node Type"] == "Bitmap Heap Scan" else heap)


@contextmanager
def _reading(database: PostgreSQL) -> Iterator[Connection]:
    """Open a read-only transaction and roll it back at the end. JIT is off: compiling takes longer than reading the catalog."""
    engine = create_engine(database.url.set(drivername=DRIVER), poolclass=NullPool)
    try:
        with engine.connect() as connection:
            connection.execution_options(postgresql_readonly=True)
            connection.execute(text("SET LOCAL jit = off"))
            yield connection
    except (SQLAlchemyError, psycopg.Error) as error:
        raise Unavailable(f"Database {database.name}: {_reason(error)}.", expected="A database that answers.") from None
    finally:
        engine.dispose()


def _reason(error: SQLAlchemyError | psycopg.Error) -> str:
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0].rstrip(".")
