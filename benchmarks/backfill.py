"""Compare the rows per second of a backfill with a handwritten psql loop of the same batch size.

Both alternate on a PostgreSQL server of the benchmark, with fsync, each time on a new table.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from pathlib import Path

from sqlalchemy import create_engine, make_url, text

from benchmarks.server import bench_server
from slipway.backfilling.backfill import backfill, validate
from slipway.core.settings import Settings
from slipway.databases.postgresql.database import run_tool
from slipway.deployments.processes import exit_on_sigterm

CASES = ((50_000, 1_000_000), (10_000, 1_000_000))  # batch size, and rows of the table
ROUNDS = 5
VARIABLE = "BENCH_BACKFILL_URL"
CONFIG = f"""
[[service]]
name = "bench"
url = "http://127.0.0.1:9"
routes = ["/"]
[service.database]
url = {{ env = "{VARIABLE}" }}
"""
BACKFILL = """
service = "bench"
owner = "the bench"
reason = "to see how fast it is"
expected = "as fast as a loop by hand"
rollback = "nothing to undo"
table = "accounts"
key = "id"
set = {{ balance = "balance + 1" }}
[batch]
target_s = 5
start = {batch}
smallest = {batch}
largest = {batch}
load = 1
[health]
wait_for_autovacuum = false               # the handwritten loop checks nothing
"""
LOOP = """
DO $$
DECLARE
    cursor bigint := 0;
    edge bigint;
BEGIN
    LOOP
        SELECT max(id) INTO edge FROM (SELECT id FROM accounts WHERE id > cursor ORDER BY id LIMIT {batch}) AS batch;
        EXIT WHEN edge IS NULL;
        UPDATE accounts SET balance = balance + 1 WHERE id > cursor AND id <= edge;
        cursor := edge;
        COMMIT;
    END LOOP;
END $$
"""
TABLE = (
    "DROP TABLE IF EXISTS accounts, slipway_backfill, slipway_backfill_skipped",
    "CREATE TABLE accounts (id bigint PRIMARY KEY, balance int NOT NULL, note text NOT NULL)",
    "INSERT INTO accounts SELECT i, 0, repeat('x', 60) FROM generate_series(1, {rows}) AS i",
    "VACUUM (ANALYZE) accounts",
    "CHECKPOINT",
)


def main() -> int:
    """Measure and print one JSON line per batch size. Return 0. Raises AssertionError if a row was not changed exactly once."""
    exit_on_sigterm()
    with bench_server() as (folder, url):
        for batch, rows in CASES:
            _measure(folder, url, batch, rows)
    return 0


def _measure(folder: Path, url: str, batch: int, rows: int) -> None:
    os.environ[VARIABLE] = url
    settings = Settings(config=folder / "slipway.toml", changes=folder / "changes")
    settings.config.write_text(CONFIG, encoding="utf-8")
    (settings.changes / "bench").mkdir(parents=True, exist_ok=True)
    (settings.changes / "bench" / "backfill.toml").write_text(BACKFILL.format(batch=batch), encoding="utf-8")
    rounds = [(_ours(url, settings, rows), _theirs(url, batch, rows)) for _ in range(ROUNDS)]
    ours, theirs = (statistics.median(side) for side in zip(*rounds, strict=True))
    line = {
        "name": "backfill/rows",
        "unit": "rows/s",
        "ours": round(ours),
        "peer": "psql-loop",
        "theirs": round(theirs),
        "ratio": round(ours / theirs, 2),
        "batch": batch,
        "rows": rows,
    }
    print(json.dumps(line), flush=True)


def _ours(url: str, settings: Settings, rows: int) -> float:
    _make_table(url, rows)
    plan = validate("bench", settings)
    began = time.perf_counter()
    backfill(plan, settings.changes, lambda _: None, lambda: "")
    return _rate(url, began, rows)


def _theirs(url: str, batch: int, rows: int) -> float:
    _make_table(url, rows)
    parsed, loop = make_url(url), LOOP.format(batch=batch)
    began = time.perf_counter()
    run_tool(parsed, ["psql", "--no-psqlrc", "--quiet", "--dbname", str(parsed.database), "--command", loop])
    return _rate(url, began, rows)


def _rate(url: str, began: float, rows: int) -> float:
    seconds = time.perf_counter() - began
    rows_changed = _run(url, "SELECT min(balance), max(balance), count(*) FROM accounts")
    assert rows_changed == [(1, 1, rows)], f"some rows were not changed exactly once: {rows_changed}"
    return rows / seconds


def _make_table(url: str, rows: int) -> None:
    for statement in TABLE:
        _run(url, statement.format(rows=rows))


def _run(url: str, statement: str) -> list[tuple[int, ...]]:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            result = connection.execute(text(statement))
            return [tuple(row) for row in result] if result.returns_rows else []
    finally:
        engine.dispose()


if __name__ == "__main__":
    sys.exit(main())
