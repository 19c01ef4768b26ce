"""Measure the 99th percentile of live queries while a migration waits for its lock, and while a backfill runs.

Visitors in their own process read and write single rows of a PostgreSQL database (with fsync) at a fixed rate. A latency
counts from the due time of its query. Windows without other work alternate with the others, so that the machine's noise
affects all alike. The migration needs the strongest lock on the table that all visitors use, while a long transaction
blocks it. The backfill runs with its default settings. The peers do the same by hand: the migration without a lock
timeout, and a loop in the database without pauses.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psycopg
from sqlalchemy import make_url

from benchmarks.backfill import LOOP
from benchmarks.server import bench_server
from benchmarks.visitors import RATE
from slipway.backfilling.backfill import backfill, validate
from slipway.config.change import Change
from slipway.config.plan import Plan
from slipway.config.service import load_service
from slipway.core.settings import Settings
from slipway.databases.catalog import Lock, Statement
from slipway.databases.postgresql.database import run_tool
from slipway.deployments.processes import exit_on_sigterm
from slipway.migrations.migrate import migrate
from slipway.migrations.outcomes import Rehearsal

VARIABLE = "BENCH_LIVE_URL"
ROWS = 500_000
WINDOW_S, ROUNDS = 12.0, 4  # seconds of a window without other work, windows of each kind
BATCH = 1_000  # rows per batch of the handwritten loop
LONG_S = 10.0  # how long the long transaction blocks the migration
CONFIG = f"""
[[service]]
name = "bench"
url = "http://127.0.0.1:9"
directory = "."
routes = ["/"]
[service.database]
url = {{ env = "{VARIABLE}" }}
variable = "{VARIABLE}"
[service.migrations]
bin = "{{bin}}"
lock_timeout_s = 0.05
commands = {{ upgrade = ["python", "move.py", "{{to}}"], downgrade = ["python", "move.py", "{{to}}"], \
current = ["python", "move.py"], sql = ["python", "move.py"] }}
"""
MOVE = """
    import os, sys
    import psycopg
    with psycopg.connect(os.environ["BENCH_LIVE_URL"].replace("+psycopg", "")) as database:
        [[there]] = database.execute(
            "SELECT count(*) FROM information_schema.columns WHERE table_name = 'accounts' AND column_name = 'seen'"
        ).fetchall()
        if len(sys.argv) < 2:
            print("with" if there else "without")
        elif sys.argv[1] == "with":
            database.execute("ALTER TABLE accounts ADD COLUMN seen timestamptz")
        else:
            database.execute("ALTER TABLE accounts DROP COLUMN seen")
"""
BACKFILL = """
service = "bench"
owner = "the bench"
reason = "to see whom it hurts"
expected = "nobody"
rollback = "nothing to undo"
table = "accounts"
key = "id"
set = { balance = "balance + 1" }
[health]
wait_for_autovacuum = false
"""
TABLE = (
    "CREATE TABLE accounts (id bigint PRIMARY KEY, balance int NOT NULL, note text NOT NULL)",
    "INSERT INTO accounts SELECT i, 0, repeat('x', 60) FROM generate_series(1, {rows}) AS i",
    "VACUUM (ANALYZE) accounts",
)
ALTERED = Statement(sql="ALTER", seconds=0, locks=(Lock(table="accounts", mode="ACCESS EXCLUSIVE", held_s=0),))
REHEARSED = Rehearsal(reversibility="lossless", statements=(ALTERED,))
CHANGE = {
    "service": "bench",
    "owner": "the bench",
    "reason": "to see whom it hurts",
    "expected": "nobody",
    "rollback": "nothing is lost",
    "migrate": {"from": "without", "to": "with"},
    "measure": {"targets": [{"route": "/"}], "control": {"route": "/"}},
}


def main() -> int:
    """Measure and print the JSON lines of the migration and of the backfill."""
    exit_on_sigterm()
    with bench_server() as (folder, url):
        os.environ[VARIABLE] = url
        settings = _prepare(folder, url)
        works = {
            "nothing-beside": None,
            "migration": partial(_migration, settings, url),
            "backfill": partial(_backfill, settings, url),
            "migration-by-hand": partial(_migration_by_hand, settings, url),
            "loop-by-hand": partial(_loop_by_hand, url),
        }
        p99s: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(ROUNDS):
            for name, work in works.items():
                p99s[name].append(_p99(url, work))
                _psql(url, "ALTER TABLE accounts DROP COLUMN IF EXISTS seen")
        medians = {name: statistics.median(values) for name, values in p99s.items()}
        for ours, peer in (
            ("migration", "nothing-beside"),
            ("migration", "migration-by-hand"),
            ("backfill", "nothing-beside"),
            ("backfill", "loop-by-hand"),
        ):
            _print(ours, peer, medians)
    return 0


def _print(ours: str, peer: str, medians: dict[str, float]) -> None:
    line = {
        "name": f"{ours}/p99-of-live-queries",
        "unit": "ms",
        "ours": round(medians[ours], 2),
        "peer": peer,
        "theirs": round(medians[peer], 2),
        "ratio": round(medians[peer] / medians[ours], 2),
        "queries_per_s": RATE,
    }
    print(json.dumps(line), flush=True)


def _prepare(folder: Path, url: str) -> Settings:
    settings = Settings(config=folder / "slipway.toml", changes=folder / "changes")
    settings.config.write_text(CONFIG.replace("{bin}", str(Path(sys.executable).parent)), encoding="utf-8")
    (folder / "move.py").write_text(textwrap.dedent(MOVE), encoding="utf-8")
    (settings.changes / "bench").mkdir(parents=True)
    (settings.changes / "bench" / "backfill.toml").write_text(BACKFILL, encoding="utf-8")
    for statement in TABLE:
        _psql(url, statement.format(rows=ROWS))
    return settings


def _psql(url: str, statement: str) -> None:
    parsed = make_url(url)
    run_tool(parsed, ["psql", "--no-psqlrc", "--quiet", "--dbname", str(parsed.database), "--command", statement])


def _migration(settings: Settings, url: str) -> None:
    """Migrate while a long transaction blocks the lock."""
    change = Change.model_validate(CHANGE)
    service = load_service(settings.config, "bench")
    plan = Plan(name="bench", digest="", change=change, service=service, commit="", files=(), migration_sql="")
    with _long_transaction(url):
        migrate(plan, settings.config.parent, REHEARSED)


def _migration_by_hand(settings: Settings, url: str) -> None:
    """Migrate without a lock timeout, so that all other queries queue behind the migration."""
    with _long_transaction(url):
        subprocess.run([sys.executable, "move.py", "with"], cwd=settings.config.parent, check=True)


@contextmanager
def _long_transaction(url: str) -> Iterator[None]:
    """Keep a transaction open for LONG_S seconds that has read the table."""
    with psycopg.connect(url.replace("+psycopg", "")) as session:
        session.execute("SELECT count(*) FROM accounts WHERE id < 100")
        timer = threading.Timer(LONG_S, session.rollback)
        timer.start()
        try:
            yield
        finally:
            timer.join()


def _backfill(settings: Settings, url: str) -> None:
    """Update every row once with a backfill."""
    _psql(url, "DROP TABLE IF EXISTS slipway_backfill, slipway_backfill_skipped")
    backfill(validate("bench", settings), settings.changes, lambda _: None, lambda: "")


def _loop_by_hand(url: str) -> None:
    """Update every row once with a handwritten loop in psql."""
    _psql(url, LOOP.format(batch=BATCH))


def _p99(url: str, work: Callable[[], None] | None) -> float:
    """Return the 99th percentile in ms while `work` runs, or over a window without work."""
    command = [sys.executable, "-m", "benchmarks.visitors", url.replace("+psycopg", ""), str(ROWS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as visitors:
        assert visitors.stdin is not None
        assert visitors.stdout is not None
        assert visitors.stdout.readline() == "visiting\n"
        try:
            if work is not None:
                work()
            else:
                time.sleep(WINDOW_S)
        finally:
            visitors.stdin.close()
        samples: list[float] = json.loads(visitors.stdout.read())
    return statistics.quantiles(samples, n=100)[98] * 1_000


if __name__ == "__main__":
    sys.exit(main())
