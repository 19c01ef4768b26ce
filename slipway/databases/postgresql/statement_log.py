"""What is noted of the sessions that are watched: their statements, and the locks that each of them took."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field

from slipway.databases.catalog import Lock, LockMode, Statement, strength

MOST_TEXTS = 1_000  # a migration that writes row by row, with literals, would have a text a row
SHOWN = 500
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
    held: dict[tuple[str, LockMode], tuple[str, float]] = field(default_factory=dict)  # by which text, since when
    looked: float = 0.0
    over: float = 0.0


class Journal:
    """Kept by several threads at once. Times are seconds of one clock, whichever."""

    def __init__(self, secret: str = "") -> None:
        self.left_out = 0  # statements beyond MOST_TEXTS
        self._secret = secret
        self._tallies: dict[str, _Tally] = {}
        self._sessions: dict[int, _Session] = {}
        self._mutex = threading.Lock()

    def ended(self, sql: str, seconds: float, rows: int | None) -> None:
        """Note a statement that ended; transaction control and settings are left out."""
        with self._mutex:
            tally = self._tally(sql)
            if tally is not None:
                tally.seconds += seconds
                tally.calls += 1
                tally.rows = tally.rows if rows is None else rows + (tally.rows or 0)

    def looked(self, pid: int, sql: str, began: float, locks: set[tuple[str, LockMode]], at: float) -> None:
        """Note the locks that a session held at `at`, during or just after the statement `sql` that began at `began`.

        A lock not seen at the look before was taken since, and one not seen any more has been let go.
        """
        with self._mutex:
            session = self._sessions.setdefault(pid, _Session())
            if at < session.over:  # the look began before the transaction's end, and came back after it
                return
            for gone in session.held.keys() - locks:
                self._let_go(session, gone, at)
            for new in locks - session.held.keys():
                session.held[new] = sql, min(at, max(began, session.looked))
            session.looked = at

    def over(self, pid: int, at: float) -> None:
        """Note the end of a session's transaction, and with it of all its locks."""
        with self._mutex:
            session = self._sessions.setdefault(pid, _Session())
            for held in list(session.held):
                self._let_go(session, held, at)
            session.over = at

    def close(self, at: float) -> tuple[Statement, ...]:
        """Every statement, in the order in which they first ran; locks that are still held are held until `at`."""
        for pid in list(self._sessions):
            self.over(pid, at)
        return tuple(
            Statement(
                sql=self._shown(sql),
                seconds=round(tally.seconds, 6),
                calls=max(1, tally.calls),
                rows=tally.rows,
                locks=tuple(tally.locks[table] for table in sorted(tally.locks)),
            )
            for sql, tally in self._tallies.items()
        )

    def _let_go(self, session: _Session, held: tuple[str, LockMode], at: float) -> None:
        (table, mode), (sql, since) = held, session.held.pop(held)
        tally = self._tally(sql)
        if tally is None:
            return
        lock = Lock(table=table, mode=mode, held_s=round(max(0.0, at - since), 6))
        tally.locks[table] = max(
            tally.locks.get(table, lock), lock, key=lambda each: (strength(each.mode), each.held_s)
        )

    def _tally(self, sql: str) -> _Tally | None:
        text = sql.strip().rstrip("; \n")
        if CONTROL.match(text) and ";" not in text:  # several sent as one are more than their BEGIN
            return None
        if text not in self._tallies and len(self._tallies) >= MOST_TEXTS:
            self.left_out += 1
            return None
        return self._tallies.setdefault(text, _Tally())

    def _shown(self, sql: str) -> str:
        """The text without passwords, shortened."""
        text = IN_URL.sub(r"\1***@", PASSWORD.sub(r"\1'***'", sql))
        text = text.replace(self._secret, "***") if self._secret else text
        return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
