"""The access log: what was done, by whom, how, from where, on what, and what came of it. It only grows.

What acts may say that it begins, so that it stands in the log also when its process is killed before it has answered.
"""

from __future__ import annotations

import uuid
from datetime import timedelta

from sqlalchemy import Insert, Table, bindparam, delete, func, insert, literal, select

from slipway.accounts.grants import AccessLogEntry
from slipway.runs.account_tables import ACTS, log
from slipway.runs.account_tables import begun as under_way
from slipway.runs.store import Store, plain

LONGEST = 300  # characters of a field; what somebody sends must not fill the disk
LOST_AFTER = timedelta(minutes=5)  # every request is answered long before
LOST = "unknown: it was never answered"


def _put(table: Table, *names: str) -> Insert:
    return insert(table).inline().values({name: bindparam(name) for name in names})


_ENTRY = _put(log, *ACTS, "outcome")
_BEGIN = plain(_put(under_way, "id", *ACTS))
_ADD = plain(_ENTRY)
_END = plain(_ENTRY.add_cte(delete(under_way).where(under_way.c.id == bindparam("id")).cte("ended")))


class AccessLog:
    """The log in Slipway's store. There is no method that changes an entry, and the database refuses it, too."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(self, **told: str) -> str:
        """Say that something begins (`who`, `how`, `address`, `what`, `on`); returns the id with which its entry ends it."""
        begun = uuid.uuid4().hex
        self._store.ask(_BEGIN, {"id": begun} | {name: _printable(told[name]) for name in ACTS})
        return begun

    def add(self, *, who: str, how: str, address: str, what: str, on: str, outcome: str, begun: str = "") -> None:
        """Add an entry, of what has `begun`. Secrets never stand in one: only names, paths and words are passed here."""
        told = {"who": who, "how": how, "address": address, "what": what, "on": on, "outcome": outcome}
        kept = {name: _printable(value) for name, value in told.items()}
        self._store.ask(_END if begun else _ADD, kept | ({"id": begun} if begun else {}))

    def newest(self, limit: int, before: int | None = None) -> list[AccessLogEntry]:
        """Entries, the newest first; those before the entry with an id, where one is given.

        What began long ago and was never answered becomes one here.
        """
        wanted = select(log).order_by(log.c.id.desc()).limit(limit)
        if before is not None:
            wanted = wanted.where(log.c.id < before)
        lost = (
            delete(under_way)
            .where(under_way.c.at < func.clock_timestamp() - LOST_AFTER)
            .returning(under_way)
            .cte("lost")
        )
        told = select(lost.c.at, *(lost.c[name] for name in ACTS), literal(LOST)).order_by(lost.c.at)
        with self._store.transaction() as connection:
            connection.execute(insert(log).inline().from_select(["at", *ACTS, "outcome"], told))
            return [AccessLogEntry.model_validate(dict(row)) for row in connection.execute(wanted).mappings()]


def _printable(value: str) -> str:
    """One line without control characters, so that an entry cannot look like two."""
    return "".join(sign if sign.isprintable() else "?" for sign in value[:LONGEST])
