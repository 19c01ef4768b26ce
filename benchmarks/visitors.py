"""Visitors of a database, in a process of their own: they read and write single rows, each at its due time.

`python -m benchmarks.visitors URL ROWS` says `visiting`, goes on until its input ends, and then prints the seconds each query
took, counted from when it was due, as one JSON list.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg

RATE, VISITORS = 200, 4  # queries a second, connections


def main() -> int:
    """Visit until the input ends."""
    url, rows = sys.argv[1], int(sys.argv[2])
    over = threading.Event()
    with ThreadPoolExecutor(VISITORS) as pool:
        visitors = [pool.submit(_visit, url, rows, number, over) for number in range(VISITORS)]
        print("visiting", flush=True)
        sys.stdin.read()
        over.set()
        print(json.dumps([sample for visitor in visitors for sample in visitor.result()]))
    return 0


def _visit(url: str, rows: int, number: int, over: threading.Event) -> list[float]:
    """One visitor: three reads to a write."""
    pick = random.Random(number)  # noqa: S311 - which row, and no secret
    took: list[float] = []
    with psycopg.connect(url, autocommit=True) as database:
        due = time.perf_counter() + number / RATE
        while not over.is_set():
            time.sleep(max(0.0, due - time.perf_counter()))
            row = pick.randint(1, rows)
            if pick.random() < 0.25:
                database.execute("UPDATE accounts SET note = note WHERE id = %s", (row,))
            else:
                database.execute("SELECT balance, note FROM accounts WHERE id = %s", (row,)).fetchone()
            took.append(time.perf_counter() - due)
            due += VISITORS / RATE
    return took


if __name__ == "__main__":
    sys.exit(main())
