"""The access log: who did what, how, from which address, on what, and with which outcome. Entries are only added.

An action can be recorded before it starts, so that it is logged even if the process is killed before it answers.
"""

from __future__ import annotations

import uuid
from datetime import timedelta

from sqlalchemy import Insert, Table, bindparam, delete, func, insert, literal, select

from slipway.accounts.grants import AccessLogEntry
from slipway.runs.account_tables import ACTS, log, started
from slipway.runs.store import Store, compiled

MAX_CHARS = 300  # per field, so that requests cannot fill the disk
UNANSWERED_AFTER = timedelta(minutes=5)  # every request is answered long before
UNANSWERED = "unknown: the request was never answered"


def _insert(table: Table, *names: str) -> Insert:
    return insert(table).inline().values({name: bindparam(name) for name in names})


_ENTRY = _insert(log, *ACTS, "outcome")
_START = compiled(_insert(started, "id", *ACTS))
_ADD = compiled(_ENTRY)
_FINISH = compiled(_ENTRY.add_cte(delete(started).where(started.c.id == bindparam("id")).cte("ended")))


class AccessLog:
    """The log in Slipway's store. No method changes an entry, and a database trigger rejects changes."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def start(self, **fields: str) -> str:
        """Record that an action starts (`who`, `how`, `address`, `what`, `on`). Return the id for `add(started=…)`."""
        started_id = uuid.uuid4().hex
        self._store.fetch(_START, {"id": started_id} | {name: _printable(fields[name]) for name in ACTS})
        return started_id

    def add(self, *, who: str, how: str, address: str, what: str, on: str, outcome: str, started: str = "") -> None:
        """Add an entry and delete the start record with the id `started`. Callers never pass secrets, only names and paths."""
        values = {"who": who, "how": how, "address": address, "what": what, "on": on, "outcome": outcome}
        printable = {name: _printable(value) for name, value in values.items()}
        self._store.fetch(_FINISH if started else _ADD, printable | ({"id": started} if started else {}))

    def newest(self, limit: int, before: int | None = None) -> list[AccessLogEntry]:
        """Return entries, newest first; with `before`, only entries older than the entry with this id.

        First, turn every action that started more than 5 minutes ago and was never answered into an entry.
        """
        query = select(log).order_by(log.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(log.c.id < before)
        unanswered = (
            delete(started)
            .where(started.c.at < func.clock_timestamp() - UNANSWERED_AFTER)
            .returning(started)
            .cte("lost")
        )
        rows = select(unanswered.c.at, *(unanswered.c[name] for name in ACTS), literal(UNANSWERED)).order_by(
            unanswered.c.at
        )
        with self._store.transaction() as connection:
            connection.execute(insert(log).inline().from_select(["at", *ACTS, "outcome"], rows))
            return [AccessLogEntry.model_validate(dict(row)) for row in connection.execute(query).mappings()]


def _printable(value: str) -> str:
    """Return the value as one line without control characters, so that one entry cannot look like two."""
    return "".join(char if char.isprintable() else "?" for char in value[:MAX_CHARS])
