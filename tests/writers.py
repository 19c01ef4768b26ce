"""Users of a live database in threads. They write orders at a steady rate, and count written orders and errors."""

from __future__ import annotations

import threading
from typing import Any, Self

import psycopg

EVERY_S = 0.005
WRITE = "INSERT INTO orders (total) VALUES (%s)"


class Writers:
    """Threads that write, each with its own session. A write counts after the server has confirmed it."""

    def __init__(self, url: str, writers: int = 2) -> None:
        self.errors: list[str] = []
        self._url = url.replace("+psycopg", "")
        self._written = [0] * writers
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(number,)) for number in range(writers)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    @property
    def rows(self) -> int:
        """Return the number of written orders."""
        return sum(self._written)

    @property
    def total(self) -> int:
        """Return the sum of all written orders. Each thread writes 1, 2, 3, …"""
        return sum(written * (written + 1) // 2 for written in self._written)

    def all_write_again(self) -> Any:
        """Return a condition that is true after every writer has started and finished one more write.

        A write that is already in progress does not count.
        """
        before = list(self._written)
        return lambda: all(current > earlier + 1 for current, earlier in zip(self._written, before, strict=True))

    def _write(self, number: int) -> None:
        try:
            with psycopg.connect(self._url, autocommit=True, application_name="the shop") as connection:
                while not self._stopped.wait(EVERY_S):
                    connection.execute(WRITE, [self._written[number] + 1])
                    self._written[number] += 1
        except psycopg.Error as error:
            self.errors.append(str(error))
