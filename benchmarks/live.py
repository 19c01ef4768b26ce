"""Live: the 99th percentile of a service's queries while a migration climbs for its lock, and while a backfill runs.

One PostgreSQL with fsync; visitors read and write single rows at a fixed rate, timed from when each was due, in a
process of their own. Windows without anything beside them come in turn with the others, so that the machine's own noise
falls on all alike. The migration needs the strongest lock on the table that everybody uses, while somebody's long
transaction keeps it. The backfill runs as it does by default. The same by hand, for comparison: the migration without
a limit on its wait, and a loop in the database without rests.
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
WINDOW_S, ROUNDS = 12.0, 4  # seconds without work, windows of each kind
BATCH = 1_000  # rows a batch of the loop by hand
LONG_S = 10.0  # so long the long transaction keeps its lock from the migration
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
    """Measure and print a JSON line each for the migration and the backfill."""
    exit_on_sigterm()
    with bench_server() as (place, url):
        os.environ[VARIABLE] = url
        settings = _prepare(place, url)
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
        medians = {name: statistics.median(found) for name, found in p99s.items()}
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


def _prepare(place: Path, url: str) -> Settings:
    settings = Settings(config=place / "slipway.toml", changes=place / "changes")
    settings.config.write_text(CONFIG.replace("{bin}", str(Path(sys.executable).parent)), encoding="utf-8")
    (place / "move.py").write_text(textwrap.dedent(MOVE), encoding="utf-8")
    (settings.changes / "bench").mkdir(parents=True)
    (settings.changes / "bench" / "backfill.toml").write_text(BACKFILL, encoding="utf-8")
    for statement in TABLE:
        _psql(url, statement.format(rows=ROWS))
    return settings


def _psql(url: str, statement: str) -> None:
    parsed = make_url(url)
    run_tool(parsed, ["psql", "--no-psqlrc", "--quiet", "--dbname", str(parsed.database), "--command", statement])


def _migration(settings: Settings, url: str) -> None:
    """With somebody in the way."""
    change = Change.model_validate(CHANGE)
    service = load_service(settings.config, "bench")
    plan = Plan(name="bench", digest="", change=change, service=service, commit="", files=(), migration_sql="")
    with _long_transaction(url):
        migrate(plan, settings.config.parent, REHEARSED)


def _migration_by_hand(settings: Settings, url: str) -> None:
    """The same, waiting for its lock as long as it takes: everybody queues behind it."""
    with _long_transaction(url):
        subprocess.run([sys.executable, "move.py", "with"], cwd=settings.config.parent, check=True)


@contextmanager
def _long_transaction(url: str) -> Iterator[None]:
    """Somebody has read the table, and keeps the transaction open for a while."""
    with psycopg.connect(url.replace("+psycopg", "")) as somebody:
        somebody.execute("SELECT count(*) FROM accounts WHERE id < 100")
        over = threading.Timer(LONG_S, somebody.rollback)
        over.start()
        try:
            yield
        finally:
            over.join()


def _backfill(settings: Settings, url: str) -> None:
    """Every row once."""
    _psql(url, "DROP TABLE IF EXISTS slipway_backfill, slipway_backfill_skipped")
    backfill(validate("bench", settings), settings.changes, lambda _: None, lambda: "")


def _loop_by_hand(url: str) -> None:
    """Every row once, as somebody would write it down in psql."""
    _psql(url, LOOP.format(batch=BATCH))


def _p99(url: str, work: Callable[[], None] | None) -> float:
    """The 99th percentile in ms while the work lasts, or over a window without any."""
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
