"""What a migration does to a copy while it runs from another process: its statements, locks and rewrites.

The migration is given the address of a relay that passes every byte on and reads the protocol. That is the most reliable
of the ways at hand: it knows every statement with its exact time and the rows that the server told, needs no superuser,
no extension and no setting of the server, and leaves nothing in the database. (Event triggers hear only DDL, want a
superuser, and what they write down forbids DROP INDEX CONCURRENTLY, which has to be first in its transaction; the log and
auto_explain are files of another host; pg_stat_statements has to be preloaded, and neither knows locks.)

Locks come from pg_locks: after each statement of an open transaction, before its answer reaches the client, so that none
is missed there; and every 20 ms meanwhile. A statement outside a transaction that ends sooner than that shows none, and
its locks can have made nobody wait longer. Rewrites are seen by a table's file, which is another one afterwards.

Several statements that a client sends as one text are noted as one, as only their time together is known.

Where client and server encrypt, or the relay cannot be used, sessions are sampled from pg_stat_activity: statements
shorter than 20 ms can be missed, rows are not known, and `StatementMonitor.unseen` says so.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
from sqlalchemy import URL, create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from slipway.core.errors import Unavailable
from slipway.databases.catalog import LockMode, Statement
from slipway.databases.database import DRIVER, MODES, TABLE
from slipway.databases.postgresql.catalog_queries import OURS
from slipway.databases.postgresql.database import PostgreSQL
from slipway.databases.postgresql.protocol import Ended, Ready
from slipway.databases.postgresql.relay import HOST, Relay, RelayedSession
from slipway.databases.postgresql.statement_log import MOST_TEXTS, Journal

EVERY_S = 0.02
SESSION = "-c statement_timeout=5000 -c application_name=slipway-watch"

LOCKS = f"""
    SELECT l.pid, {TABLE}, l.mode
    FROM pg_locks l JOIN pg_class t ON t.oid = l.relation JOIN pg_namespace n ON n.oid = t.relnamespace
    WHERE l.locktype = 'relation' AND l.granted AND l.pid <> pg_backend_pid() AND t.relkind IN ('r', 'p', 'm') AND {OURS}
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""  # noqa: S608 - put together from constants
ACTIVITY = """
    SELECT pid, query, query_start,
        extract(epoch FROM CASE state WHEN 'active' THEN clock_timestamp() ELSE state_change END - query_start)::float8
    FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
        AND query_start IS NOT NULL
"""
FILES = f"""
    SELECT t.oid, {TABLE}, pg_relation_filenode(t.oid), pg_relation_size(t.oid)
    FROM pg_class t JOIN pg_namespace n ON n.oid = t.relnamespace WHERE t.relkind IN ('r', 'm') AND {OURS}
"""  # noqa: S608 - put together from constants


class StatementMonitor:
    """What was seen, complete after the block; `database` is what the migration has to be run against."""

    def __init__(self, database: PostgreSQL) -> None:
        self.database = database
        self.statements: tuple[Statement, ...] = ()
        self.left_out = 0  # statements beyond the first thousand texts, counted in no other way
        self.rewritten: tuple[str, ...] = ()
        self.unseen = ""  # why not every statement was seen, or nothing


@contextlib.contextmanager
def watched(database: PostgreSQL) -> Iterator[StatementMonitor]:
    """Watch what runs on `database`, a copy that nobody else uses, until the block ends. Raises Unavailable at its start.

    What goes wrong later while watching is told in `unseen`; it never fails the migration.
    """
    watch, password = StatementMonitor(database), str(database.url.password or "")
    with _connected(database) as connection:
        eye = LockSampler(connection, Journal(password if len(password) >= 6 else ""))
        before = _files(connection)
        relay, watch.unseen = _relay(connection, database, eye)
        if relay is not None:
            watch.database = _through(relay, database.url)
        eye.open(relay)
        try:
            yield watch
        finally:
            watch.statements = eye.close()
            if relay is not None:
                relay.stop()
            watch.left_out = eye.journal.left_out
            watch.unseen = watch.unseen or eye.failed or _left_out(watch.left_out)
            with contextlib.suppress(psycopg.Error):  # a copy that is gone has no files to compare
                watch.rewritten = _rewritten(before, _files(connection))


def _left_out(count: int) -> str:
    return f"{count:,} statements came behind {MOST_TEXTS:,} different ones, and were not kept." if count else ""


class LockSampler:
    """Looks at pg_locks, and without a relay at pg_stat_activity, every 20 ms from `open` to `close`."""

    def __init__(self, connection: psycopg.Connection[Any], journal: Journal) -> None:
        self.journal = journal
        self.failed = ""
        self._connection = connection
        self._relay: Relay | None = None
        self._open = False
        self._seen: dict[tuple[int, object], tuple[str, float]] = {}  # (pid, start) of a sampled statement
        self._looking = threading.Lock()  # looks come one after another, so that none is overtaken by an older one
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._go_on_looking, daemon=True)

    def open(self, relay: Relay | None) -> None:
        """Look from now on."""
        self._relay, self._open = relay, True
        self._since = self._ask("SELECT clock_timestamp()")[0][0]
        self._thread.start()

    def close(self) -> tuple[Statement, ...]:
        """Look no more; every statement that was seen."""
        self._closing.set()
        self._thread.join()
        self._open = False
        if self._relay is not None:
            self.failed = self.failed or self._relay.unheard
        for sql, seconds in self._seen.values():
            self.journal.ended(sql, seconds, None)
        return self.journal.close(time.monotonic())

    def hear(self, heard: RelayedSession, event: Ended | Ready) -> None:
        """What the relay hears; the server's answer waits meanwhile, so that a transaction still has its locks."""
        if not self._open:
            return
        pid = heard.conversation.pid
        if isinstance(event, Ended):
            self.journal.ended(event.sql, event.ended - event.began, event.rows)
        elif not event.open:
            self.journal.over(pid, event.at)
            heard.looked.clear()
        elif heard.last is not None and heard.last.sql not in heard.looked:  # the same text takes the same locks
            heard.looked.add(heard.last.sql)
            self._look({pid: (heard.last.sql, heard.last.began)})

    def _go_on_looking(self) -> None:
        while not self._closing.wait(EVERY_S) and not self.failed:
            if self._relay is None:
                self._sample()
            else:
                self._look({})

    def _look(self, just_ended: dict[int, tuple[str, float]]) -> None:
        """Note the locks of each session for the statement that it is at or has just ended.

        Which one that is has to be asked after the locks: a statement that began meanwhile may have taken them.
        """
        with self._looking, self._noting_failure():
            at = time.monotonic()
            locks = self._locks() if self._relay is not None and self._relay.sessions else {}
            for pid, (sql, began) in (self._running() | just_ended).items():
                self.journal.looked(pid, sql, began, locks.get(pid, set()), at)

    def _running(self) -> dict[int, tuple[str, float]]:
        found = {}
        for heard in list(self._relay.sessions if self._relay else ()):
            with heard.mutex:
                running = heard.conversation.running()
            if running is not None:
                found[heard.conversation.pid] = running
            elif heard.last is not None:
                found[heard.conversation.pid] = heard.last.sql, heard.last.began
        return found

    def _sample(self) -> None:
        with self._looking, self._noting_failure():
            at, locks = time.monotonic(), self._locks()
            rows = [row for row in self._ask(ACTIVITY) if row[2] >= self._since]
            for pid, sql, start, seconds in rows:
                self._seen[pid, start] = sql, seconds
                self.journal.looked(pid, sql, at - seconds, locks.get(pid, set()), at)
            for gone in {pid for pid, _ in self._seen} - {row[0] for row in rows}:
                self.journal.over(gone, at)

    def _locks(self) -> dict[int, set[tuple[str, LockMode]]]:
        found: dict[int, set[tuple[str, LockMode]]] = {}
        for pid, table, mode in self._ask(LOCKS):
            if mode in MODES:
                found.setdefault(pid, set()).add((table, MODES[mode]))
        return found

    def _ask(self, query: str) -> Sequence[tuple[Any, ...]]:
        return self._connection.execute(query.encode()).fetchall()

    @contextlib.contextmanager
    def _noting_failure(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            self.failed = f"Watching the locks broke off: {str(error).strip().splitlines()[0]}."


def _relay(connection: psycopg.Connection[Any], database: PostgreSQL, eye: LockSampler) -> tuple[Relay | None, str]:
    """A relay that was tried with the database's own URL, or why there is none."""
    info = connection.info
    relay = Relay(info.host if info.host.startswith("/") else info.hostaddr, info.port, eye.hear)
    relay.start()
    try:
        with _connected(_through(relay, database.url)):
            unheard = relay.unheard
    except Unavailable as error:
        unheard = error.failed
    if not unheard:
        return relay, ""
    relay.stop()
    return None, f"Statements are sampled, and short ones may be missing. {unheard}"


def _through(relay: Relay, url: URL) -> PostgreSQL:
    plain = url.difference_update_query(["host", "port", "hostaddr"]).set(host=HOST, port=relay.port)
    return PostgreSQL(plain.render_as_string(hide_password=False))


def _files(connection: psycopg.Connection[Any]) -> dict[int, tuple[str, int, int]]:
    """Of each table, by its oid: name, number of its file, size."""
    return {row[0]: (row[1], row[2], row[3]) for row in connection.execute(FILES.encode())}


def _rewritten(before: dict[int, tuple[str, int, int]], after: dict[int, tuple[str, int, int]]) -> tuple[str, ...]:
    """The tables whose rows stand in another file than before; an emptied one (TRUNCATE) has no rows to stand there."""
    return tuple(
        sorted(name for oid, (name, file, size) in after.items() if oid in before and file != before[oid][1] and size)
    )


@contextlib.contextmanager
def _connected(database: PostgreSQL) -> Iterator[psycopg.Connection[Any]]:
    engine = create_engine(
        database.url.set(drivername=DRIVER),
        isolation_level="AUTOCOMMIT",
        poolclass=NullPool,
        connect_args={"options": SESSION},
    )
    try:
        connection = engine.connect()
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise Unavailable(f"Database {database.name}: {reason}.", expected="A database that answers.") from None
    try:
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)  # DRIVER
        yield driver
    finally:
        with contextlib.suppress(SQLAlchemyError):
            connection.close()
        engine.dispose()
