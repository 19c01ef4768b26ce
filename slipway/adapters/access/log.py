"""The access log: what was done, by whom, how, from where, on what, and what came of it. It only grows."""

from __future__ import annotations

from sqlalchemy import bindparam, insert, select

from slipway.access import Entry
from slipway.adapters.access.tables import log
from slipway.adapters.store import Store, plain

LONGEST = 300  # characters of a field; what somebody sends must not fill the disk
_FIELDS = ("who", "how", "address", "what", "on", "outcome")
_ADD = plain(insert(log).inline().values({name: bindparam(name) for name in _FIELDS}))


class AccessLog:
    """The log in Slipway's store. There is no method that changes an entry, and the database refuses it, too."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, *, who: str, how: str, address: str, what: str, on: str, outcome: str) -> None:
        """Add an entry. Secrets never stand in one: only names, paths and words are passed here."""
        told = {"who": who, "how": how, "address": address, "what": what, "on": on, "outcome": outcome}
        kept = {name: _printable(value) for name, value in told.items()}
        self._store.ask(_ADD, kept)

    def newest(self, limit: int, before: int | None = None) -> list[Entry]:
        """Entries, the newest first; those before the entry with an id, where one is given."""
        wanted = select(log).order_by(log.c.id.desc()).limit(limit)
        if before is not None:
            wanted = wanted.where(log.c.id < before)
        with self._store.transaction() as connection:
            return [Entry.model_validate(dict(row)) for row in connection.execute(wanted).mappings()]


def _printable(value: str) -> str:
    """One line without control characters, so that an entry cannot look like two."""
    return "".join(sign if sign.isprintable() else "?" for sign in value[:LONGEST])
