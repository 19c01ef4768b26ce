"""The log of monitored sessions: their statements, and the locks that each statement took."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field

from slipway.databases.catalog import Lock, LockMode, Statement, strength

MOST_TEXTS = 1_000  # limits memory: a migration that writes rows one by one with literals has one text per row
SHOWN_LENGTH = 500
CONTROL = re.compile(
    r"\s*(begin|commit|end|rollback|savepoint|release|start\s+transaction|set|show|reset|deallocate|discard)\b", re.I
)
PASSWORD = re.compile(r"(password\s+)(E?'(?:[^']|'')*')", re.I)
IN_URL = re.compile(r"(://[^:/@\s]*:)[^/@\s]+@")


@dataclass
class _Tally:
    seconds: float = 0
    calls: int = 0
    rows: int | None = None
    locks: dict[str, Lock] = field(default_factory=dict)


@dataclass
class _Session:
    held: dict[tuple[str, LockMode], tuple[str, float]] = field(default_factory=dict)  # lock: (statement text, start)
    sampled_at: float = 0.0
    transaction_ended_at: float = 0.0


class StatementLog:
    """Collects statements and locks from several threads. Times are seconds of any single clock."""

    def __init__(self, secret: str = "") -> None:
        self.left_out = 0  # statements beyond MOST_TEXTS
        self._secret = secret
        self._tallies: dict[str, _Tally] = {}
        self._sessions: dict[int, _Session] = {}
        self._mutex = threading.Lock()

    def add_statement(self, sql: str, seconds: float, rows: int | None) -> None:
        """Add a statement that ended. Transaction control and settings are left out."""
        with self._mutex:
            tally = self._tally(sql)
            if tally is not None:
                tally.seconds += seconds
                tally.calls += 1
                tally.rows = tally.rows if rows is None else rows + (tally.rows or 0)

    def record_locks(self, pid: int, sql: str, began: float, locks: set[tuple[str, LockMode]], at: float) -> None:
        """Record the locks that a session held at `at`, during or just after the statement `sql` that began at `began`.

        A lock that the previous sample did not contain was taken since. A lock that is missing now was released.
        """
        with self._mutex:
            session = self._sessions.setdefault(pid, _Session())
            if at < session.transaction_ended_at:  # the sample started before the end of the transaction
                return
            for released in session.held.keys() - locks:
                self._release(session, released, at)
            for taken in locks - session.held.keys():
                session.held[taken] = sql, min(at, max(began, session.sampled_at))
            session.sampled_at = at

    def end_transaction(self, pid: int, at: float) -> None:
        """Record the end of a session's transaction, which releases all its locks."""
        with self._mutex:
            session = self._sessions.setdefault(pid, _Session())
            for held in list(session.held):
                self._release(session, held, at)
            session.transaction_ended_at = at

    def close(self, at: float) -> tuple[Statement, ...]:
        """Return every statement in the order of the first calls. Locks that are still held end at `at`."""
        for pid in list(self._sessions):
            self.end_transaction(pid, at)
        return tuple(
            Statement(
                sql=self._redact(sql),
                seconds=round(tally.seconds, 6),
                calls=max(1, tally.calls),
                rows=tally.rows,
                locks=tuple(tally.locks[table] for table in sorted(tally.locks)),
            )
            for sql, tally in self._tallies.items()
        )

    def _release(self, session: _Session, held: tuple[str, LockMode], at: float) -> None:
        (table, mode), (sql, since) = held, session.held.pop(held)
        tally = self._tally(sql)
        if tally is None:
            return
        lock = Lock(table=table, mode=mode, held_s=round(max(0.0, at - since), 6))
        tally.locks[table] = max(
            tally.locks.get(table, lock), lock, key=lambda entry: (strength(entry.mode), entry.held_s)
        )

    def _tally(self, sql: str) -> _Tally | None:
        text = sql.strip().rstrip("; \n")
        if CONTROL.match(text) and ";" not in text:  # a text of several statements is more than its BEGIN
            return None
        if text not in self._tallies and len(self._tallies) >= MOST_TEXTS:
            self.left_out += 1
            return None
        return self._tallies.setdefault(text, _Tally())

    def _redact(self, sql: str) -> str:
        """Return the text without passwords, shortened to `SHOWN_LENGTH`."""
        text = IN_URL.sub(r"\1***@", PASSWORD.sub(r"\1'***'", sql))
        text = text.replace(self._secret, "***") if self._secret else text
        return text if len(text) <= SHOWN_LENGTH else f"{text[: SHOWN_LENGTH - 1]}…"
