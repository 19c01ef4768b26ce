"""The whole survey of a rehearsal: a migration on a large table, monitored and compared with before."""

from __future__ import annotations

import subprocess
from pathlib import Path

import psycopg
import pytest

from slipway.databases.catalog import Query
from slipway.databases.postgresql.catalog_queries import explain, read_indexes, read_tables
from slipway.databases.postgresql.database import PostgreSQL, client_tools
from slipway.databases.postgresql.statement_monitor import monitor_statements
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


def test_a_dangerous_migration_is_found_by_every_check(database: str) -> None:
    """The sequential scan is an error; the lock, the rewrite, the duplicate index and the dangerous SQL are reported."""
    copy = PostgreSQL(database)
    with psycopg.connect(database.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(ORDERS)
    tables, indexes, plans = read_tables(copy), read_indexes(copy), explain(copy, [OPEN])
    with monitor_statements(copy) as monitor:
        url = monitor.database.connection_url().replace("+psycopg", "")
        argv = [str(client_tools() / "psql"), "-Xq", "-v", "ON_ERROR_STOP=1", url]
        subprocess.run(argv, input=MIGRATION, text=True, check=True)
    [lock] = [finding for finding in lock_findings(monitor.statements, tables) if "ALTER TABLE" in finding.summary]
    assert lock.summary.startswith("ACCESS EXCLUSIVE on orders (120.0 k rows) was held for ")
    assert lock.summary.endswith("blocks all reads and writes of the table: ALTER TABLE orders ALTER cents TYPE bigint")
    assert [(finding.code, finding.level) for finding in rewrite_findings(monitor.rewritten, tables)] == [
        ("table-rewrite", "warning")
    ]
    [duplicate] = new_index_findings(indexes, read_indexes(copy))
    assert (duplicate.code, duplicate.level) == ("index-duplicate", "warning")
    [scan] = plan_findings(plans, explain(copy, [OPEN]), tables)
    assert (scan.code, scan.level) == ("plan-seq-scan", "error")
    assert scan.summary.startswith(
        "GET of open orders reads all 120.0 k rows of orders in a sequential scan after the change; before the change: "
        "index orders_open."
    )
    assert [finding.code for finding in dangerous_statements(MIGRATION, tables)] == ["sql-rewrite"]
    assert "squawk-changing-column-type" in [finding.code for finding in lint(MIGRATION)]


def test_the_services_own_tool_is_monitored(tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service's own Alembic and driver run against the URL of the monitor."""
    monkeypatch.setenv(VARIABLE, database)
    first = ("CREATE TABLE a (id int PRIMARY KEY, note text)", "DROP TABLE a")
    second = ("UPDATE a SET note = 'x' WHERE id < 10; CREATE INDEX a_note ON a (note)", "DROP INDEX a_note")
    history = History(tmp_path, database, [first, second])
    history.set_revision("0001")
    history.run("INSERT INTO a SELECT n, 'note' FROM generate_series(1, 100) AS n")
    plan = history.plan("0001", "0002")
    with monitor_statements(history.live) as monitor:
        tool = MigrationTool(plan.service, monitor.database.connection_url(), history.folder)
        assert tool.upgrade("0002").exit_code == 0
    assert history.version() == "0002"
    update = {statement.sql: statement for statement in monitor.statements}[second[0]]
    assert (update.rows, [(lock.table, lock.mode) for lock in update.locks]) == (9, [("a", "SHARE")])
    assert monitor.incomplete == ""
