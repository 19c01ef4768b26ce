"""Compare a rehearsal's copy of one gigabyte with `pg_dump -Fd -j2` and `pg_restore -j2` by hand.

Both alternate on a PostgreSQL server of the benchmark, with fsync. The rehearsal's copy also checks the disk space and
collects statistics.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import time
from pathlib import Path

from sqlalchemy import make_url

from benchmarks.server import bench_server
from slipway.databases.postgresql.database import PostgreSQL, run_tool
from slipway.deployments.processes import exit_on_sigterm

SCALE = 70  # of pgbench: about one gigabyte
ROUNDS = 3


def main() -> int:
    """Measure and print one JSON line."""
    exit_on_sigterm()
    with bench_server() as (folder, url):
        live = PostgreSQL(url)
        run_tool(make_url(url), ["pgbench", "--initialize", "--quiet", f"--scale={SCALE}", live.name])
        rounds = [(_ours(live), _theirs(live, folder)) for _ in range(ROUNDS)]
        ours, theirs = (statistics.median(side) for side in zip(*rounds, strict=True))
        line = {
            "name": "copy/gigabyte",
            "unit": "s",
            "ours": round(ours, 2),
            "peer": "pg_dump-and-restore-by-hand",
            "theirs": round(theirs, 2),
            "ratio": round(theirs / ours, 2),
            "megabytes": round(live.size_bytes() / 1e6),
        }
        print(json.dumps(line), flush=True)
    return 0


def _ours(live: PostgreSQL) -> float:
    began = time.perf_counter()
    live.check_disk_space()
    with live.copied("bench"):
        return time.perf_counter() - began


def _theirs(live: PostgreSQL, folder: Path) -> float:
    dump, url = folder / "by-hand", make_url(live.connection_url())
    began = time.perf_counter()
    run_tool(url, ["pg_dump", "--format=directory", "--jobs=2", f"--file={dump}", live.name])
    run_tool(url, ["createdb", "by_hand"])
    run_tool(url, ["pg_restore", "--jobs=2", "--dbname=by_hand", str(dump)])
    seconds = time.perf_counter() - began
    run_tool(url, ["dropdb", "by_hand"])
    shutil.rmtree(dump)
    return seconds


if __name__ == "__main__":
    sys.exit(main())
