"""Compare the index and plan report of 500 tables with a loop that queries the catalogue once per table.

Both alternate and read the same data: every index with its keys, predicate, bytes and scans, and the sizes of every
table. `whole_s` is the complete report of a rehearsal: this data, the findings, and one query plan per table.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable

import psycopg
from sqlalchemy import URL, make_url

from benchmarks.server import bench_server
from slipway.databases.catalog import Query
from slipway.databases.postgresql.catalog_queries import explain, read_indexes, read_tables
from slipway.databases.postgresql.database import PostgreSQL
from slipway.deployments.processes import exit_on_sigterm
from slipway.migrations.index_lint import index_findings
from slipway.migrations.query_plans import plan_findings

TABLES = 500
ROUNDS = 5
MAKE = """
CREATE TABLE t{n} (id int PRIMARY KEY, customer_id int, state text, placed date, note text);
INSERT INTO t{n} SELECT i, i % 50, 'open', current_date, 'note' FROM generate_series(1, 200) AS i;
CREATE INDEX ON t{n} (customer_id);
CREATE INDEX ON t{n} (customer_id, placed DESC);
CREATE INDEX ON t{n} (lower(state)) WHERE note IS NOT NULL;
"""
ONE_TABLE = """
SELECT i.relname, a.amname, pg_get_indexdef(i.oid), x.indisunique, x.indisvalid, pg_get_expr(x.indpred, x.indrelid),
    pg_relation_size(i.oid), s.idx_scan
FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_am a ON a.oid = i.relam
LEFT JOIN pg_stat_all_indexes s ON s.indexrelid = i.oid WHERE x.indrelid = %s
"""
ITS_SIZE = "SELECT pg_total_relation_size(oid), pg_table_size(oid), pg_indexes_size(oid) FROM pg_class WHERE oid = %s"


def main() -> int:
    """Measure and print one JSON line."""
    exit_on_sigterm()
    with bench_server() as (_, url):
        return _measure(make_url(url))


def _measure(url: URL) -> int:
    database = PostgreSQL(url.render_as_string(hide_password=False))
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        for number in range(TABLES):
            connection.execute(MAKE.format(n=number).encode())
        connection.execute("ANALYZE")
    ours, theirs, complete = [], [], []
    for _ in range(ROUNDS):
        ours.append(_seconds(lambda: (read_tables(database), read_indexes(database))))
        theirs.append(_seconds(lambda: _one_by_one(plain)))
        complete.append(_seconds(lambda: _report(database)))
    a, b = statistics.median(ours), statistics.median(theirs)
    line = {
        "name": "copy/report-500-tables",
        "unit": "s",
        "ours": round(a, 3),
        "peer": "one query a table",
        "theirs": round(b, 3),
        "ratio": round(b / a, 2),
        "tables": len(read_tables(database)),
        "indexes": len(read_indexes(database)),
        "whole_s": round(statistics.median(complete), 3),
    }
    print(json.dumps(line), flush=True)
    return 0


def _report(database: PostgreSQL) -> None:
    tables = read_tables(database)
    findings = index_findings(read_indexes(database))
    assert len(findings) >= TABLES, "each table has an index that another covers"
    queries = [Query(label=table.table, sql=f"SELECT * FROM {table.table} WHERE customer_id = $1") for table in tables]  # noqa: S608 - our own names
    plans = explain(database, queries)
    assert not any(plan.error for plan in plans)
    plan_findings(plans, plans, tables)


def _one_by_one(url: str) -> None:
    with psycopg.connect(url) as connection:
        tables = connection.execute("SELECT relid FROM pg_stat_user_tables").fetchall()
        for row in tables:
            connection.execute(ONE_TABLE, row).fetchall()
            connection.execute(ITS_SIZE, row).fetchall()


def _seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
