"""Visitors of a database, in their own process. They read and write single rows, each at its due time.

`python -m benchmarks.visitors URL ROWS` prints `visiting` and runs until its standard input ends. Then it prints one JSON
list with the seconds of each query, counted from its due time.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg

RATE, VISITORS = 200, 4  # queries per second, connections


def main() -> int:
    """Query the database until standard input ends."""
    url, rows = sys.argv[1], int(sys.argv[2])
    stopped = threading.Event()
    with ThreadPoolExecutor(VISITORS) as pool:
        visitors = [pool.submit(_visit, url, rows, number, stopped) for number in range(VISITORS)]
        print("visiting", flush=True)
        sys.stdin.read()
        stopped.set()
        print(json.dumps([sample for visitor in visitors for sample in visitor.result()]))
    return 0


def _visit(url: str, rows: int, number: int, stopped: threading.Event) -> list[float]:
    """Query the database as one visitor, with three reads per write."""
    generator = random.Random(number)  # noqa: S311 - selects a row, not a secret
    latencies: list[float] = []
    with psycopg.connect(url, autocommit=True) as database:
        due = time.perf_counter() + number / RATE
        while not stopped.is_set():
            time.sleep(max(0.0, due - time.perf_counter()))
            row = generator.randint(1, rows)
            if generator.random() < 0.25:
                database.execute("UPDATE accounts SET note = note WHERE id = %s", (row,))
            else:
                database.execute("SELECT balance, note FROM accounts WHERE id = %s", (row,)).fetchone()
            latencies.append(time.perf_counter() - due)
            due += VISITORS / RATE
    return latencies


if __name__ == "__main__":
    sys.exit(main())
