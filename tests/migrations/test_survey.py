"""The parts of a rehearsal's report together: a migration on a large table, watched and compared with before."""

from __future__ import annotations

import subprocess
from pathlib import Path

import psycopg
import pytest

from slipway.databases.catalog import Query
from slipway.databases.postgresql.catalog_queries import explain, read_indexes, read_tables
from slipway.databases.postgresql.database import PostgreSQL, client_tools
from slipway.databases.postgresql.statement_monitor import watched
from slipway.migrations.index_lint import new_index_findings
from slipway.migrations.lock_lint import lock_findings, rewrite_findings
from slipway.migrations.query_plans import plan_findings
from slipway.migrations.sql_lint import dangerous_statements
from slipway.migrations.squawk import lint
from slipway.migrations.tool import MigrationTool
from tests.histories import VARIABLE, History

ORDERS = """
CREATE TABLE orders (id int PRIMARY KEY, customer_id int, state text, cents int);
INSERT INTO orders SELECT n, n % 5000, CASE n % 500 WHEN 0 THEN 'open' ELSE 'done' END, n
    FROM generate_series(1, 120000) AS n;
CREATE INDEX orders_open ON orders (state);
CREATE INDEX orders_customer ON orders (customer_id);
ANALYZE orders;
"""
MIGRATION = """
BEGIN;
ALTER TABLE orders ALTER cents TYPE bigint;
DROP INDEX orders_open;
CREATE INDEX orders_customer_again ON orders (customer_id);
UPDATE orders SET state = 'none' WHERE id = 1;
SELECT pg_sleep(1.1);
COMMIT;
ANALYZE orders;
"""
OPEN = Query(label="GET of open orders", sql="SELECT * FROM orders WHERE state = 'open' AND cents > $1")


def test_a_migration_that_nobody_should_ship(database: str) -> None:
    """The plan's gate closes; the lock, the rewrite, the repeated index and the dangerous SQL are named."""
    copy = PostgreSQL(database)
    with psycopg.connect(database.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(ORDERS)
    tables, indexes, plans = read_tables(copy), read_indexes(copy), explain(copy, [OPEN])
    with watched(copy) as watch:
        url = watch.database.connection_url().replace("+psycopg", "")
        argv = [str(client_tools() / "psql"), "-Xq", "-v", "ON_ERROR_STOP=1", url]
        subprocess.run(argv, input=MIGRATION, text=True, check=True)
    [locked] = [found for found in lock_findings(watch.statements, tables) if "ALTER TABLE" in found.summary]
    assert locked.summary.startswith("ACCESS EXCLUSIVE on orders (120.0 k rows) was held for ")
    assert locked.summary.endswith(
        "blocks every read and every write of it: ALTER TABLE orders ALTER cents TYPE bigint"
    )
    assert [(found.code, found.level) for found in rewrite_findings(watch.rewritten, tables)] == [
        ("table-rewrite", "warning")
    ]
    [repeated] = new_index_findings(indexes, read_indexes(copy))
    assert (repeated.code, repeated.level) == ("index-duplicate", "warning")
    [gate] = plan_findings(plans, explain(copy, [OPEN]), tables)
    assert (gate.code, gate.level) == ("plan-seq-scan", "error")
    assert gate.summary.startswith(
        "GET of open orders read orders_open; after the change it reads all 120.0 k rows of orders one after another."
    )
    assert [found.code for found in dangerous_statements(MIGRATION, tables)] == ["sql-rewrite"]
    assert "squawk-changing-column-type" in [found.code for found in lint(MIGRATION)]


def test_the_services_own_tool_is_watched(tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alembic with the driver of the service, against the address that the watch gives."""
    monkeypatch.setenv(VARIABLE, database)
    first = ("CREATE TABLE a (id int PRIMARY KEY, note text)", "DROP TABLE a")
    second = ("UPDATE a SET note = 'x' WHERE id < 10; CREATE INDEX a_note ON a (note)", "DROP INDEX a_note")
    history = History(tmp_path, database, [first, second])
    history.stand_at("0001")
    history.run("INSERT INTO a SELECT n, 'note' FROM generate_series(1, 100) AS n")
    plan = history.plan("0001", "0002")
    with watched(history.live) as watch:
        tool = MigrationTool(plan.service, watch.database.connection_url(), history.folder)
        assert tool.upgrade("0002").exit_code == 0
    assert history.version() == "0002"
    told = {statement.sql: statement for statement in watch.statements}[second[0]]
    assert (told.rows, [(lock.table, lock.mode) for lock in told.locks]) == (9, [("a", "SHARE")])
    assert watch.unseen == ""
