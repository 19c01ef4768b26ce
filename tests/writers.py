"""Users of a live database in threads: they write orders at a steady rate, and count what they wrote and what failed."""

from __future__ import annotations

import threading
from typing import Any, Self

import psycopg

EVERY_S = 0.005
WRITE = "INSERT INTO orders (total) VALUES (%s)"


class Writers:
    """Two threads, each over a session of its own; a write counts once the server has confirmed it."""

    def __init__(self, url: str, writers: int = 2) -> None:
        self.errors: list[str] = []
        self._url = url.replace("+psycopg", "")
        self._written = [0] * writers
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(number,)) for number in range(writers)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    @property
    def rows(self) -> int:
        """How many orders they have written."""
        return sum(self._written)

    @property
    def total(self) -> int:
        """The sum of all their orders: each writes 1, 2, 3, …"""
        return sum(written * (written + 1) // 2 for written in self._written)

    def each_writes_on(self) -> Any:
        """A look that is true once every writer has begun and ended a write since now; one may be under way."""
        before = list(self._written)
        return lambda: all(now > then + 1 for now, then in zip(self._written, before, strict=True))

    def _write(self, number: int) -> None:
        try:
            with psycopg.connect(self._url, autocommit=True, application_name="the shop") as connection:
                while not self._over.wait(EVERY_S):
                    connection.execute(WRITE, [self._written[number] + 1])
                    self._written[number] += 1
        except psycopg.Error as error:
            self.errors.append(str(error))
