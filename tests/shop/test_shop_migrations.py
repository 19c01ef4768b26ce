"""The migrations of the shop."""

import json
import subprocess
from pathlib import Path

from slipway.databases.postgresql.database import client_tools

POSTGRES = client_tools()
REVISIONS = [f"{number:04}" for number in range(1, 10)]


def query(url, sql):
    """Run one statement and return its output."""
    command = [POSTGRES / "psql", url.replace("+psycopg", ""), "-Atc", sql]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_every_downgrade_is_exact(empty_database, run_shop):
    """Each revision changes the schema, and its downgrade restores exactly the earlier schema."""
    result = run_shop(empty_database, str(Path(__file__).with_name("walk_migrations.py")), str(POSTGRES / "pg_dump"))
    assert result.returncode == 0, result.stderr
    schemas = json.loads(result.stdout)
    assert list(schemas["up"]) == ["base", *REVISIONS]
    assert len(set(schemas["up"].values())) == len(REVISIONS) + 1
    assert schemas["down"] == {revision: schemas["up"][revision] for revision in ["base", *REVISIONS[:-1]]}


def test_the_history_index_replaces_the_rest_of_an_interrupted_build(empty_database, run_shop):
    """The migration replaces an index with the same name that an interrupted build has left."""
    run_shop(empty_database, "alembic", "upgrade", "0007")
    query(empty_database, "CREATE INDEX ix_orders_history ON orders (customer_id)")
    result = run_shop(empty_database, "alembic", "upgrade", "0008")
    assert result.returncode == 0, result.stdout + result.stderr
    definition = query(empty_database, "SELECT pg_get_indexdef('ix_orders_history'::regclass)")
    assert definition.endswith("(customer_id, placed_at DESC, id DESC)")


def test_a_migration_can_be_printed_as_sql(run_shop):
    """The SQL of one revision is printed without a connection."""
    result = run_shop("postgresql+psycopg://nobody@127.0.0.1:1/none", "alembic", "upgrade", "0007:0008", "--sql")
    assert result.returncode == 0, result.stderr
    assert "CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_orders_history" in result.stdout
