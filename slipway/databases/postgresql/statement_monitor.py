"""Monitor a migration on a copy while another process runs it: its statements, locks and table rewrites.

The migration connects through a relay that forwards every byte and reads the protocol. The relay is the most reliable
method: it reads every statement with its exact duration and the reported rows, needs no superuser, extension or server
setting, and leaves nothing in the database. The alternatives are worse. Event triggers report only DDL and need a
superuser, and their writes prevent DROP INDEX CONCURRENTLY, which must be first in its transaction. The server log and
auto_explain write to files on another host. pg_stat_statements must be preloaded. None of these report locks.

Locks are read from pg_locks after each statement of an open transaction, before the client gets the response, so that no
lock is missed. They are also read every 20 ms. A shorter statement outside a transaction may show no locks, but its locks
cannot have blocked others for longer than 20 ms. A rewritten table is recognised by its new file.

Several statements that a client sends as one text count as one statement, because only their total time is known.

If client and server encrypt the session, or the relay fails, sessions are sampled from pg_stat_activity. Then statements
shorter than 20 ms can be missed, rows are unknown, and `StatementMonitor.incomplete` contains the reason.
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
from slipway.databases.postgresql.protocol import ReadyForQuery, StatementEnded
from slipway.databases.postgresql.relay import HOST, Relay, RelayedSession
from slipway.databases.postgresql.statement_log import MOST_TEXTS, StatementLog

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
    """The recorded data, complete after the block. The migration must connect to `database`."""

    def __init__(self, database: PostgreSQL) -> None:
        self.database = database
        self.statements: tuple[Statement, ...] = ()
        self.left_out = 0  # statements beyond the first thousand texts, which are not recorded
        self.rewritten: tuple[str, ...] = ()
        self.incomplete = ""  # why statements may be missing, or an empty text


@contextlib.contextmanager
def monitor_statements(database: PostgreSQL) -> Iterator[StatementMonitor]:
    """Monitor `database`, a copy that nobody else uses, until the block ends. Raises Unavailable at the start of the block.

    Later errors of the monitor are reported in `incomplete`. They never fail the migration.
    """
    monitor, password = StatementMonitor(database), str(database.url.password or "")
    with _connected(database) as connection:
        sampler = LockSampler(connection, StatementLog(password if len(password) >= 6 else ""))
        before = _read_files(connection)
        relay, monitor.incomplete = _start_relay(connection, database, sampler)
        if relay is not None:
            monitor.database = _through(relay, database.url)
        sampler.open(relay)
        try:
            yield monitor
        finally:
            monitor.statements = sampler.close()
            if relay is not None:
                relay.stop()
            monitor.left_out = sampler.log.left_out
            monitor.incomplete = monitor.incomplete or sampler.failed or _format_left_out(monitor.left_out)
            with contextlib.suppress(psycopg.Error):  # if the copy is gone, there are no files to compare
                monitor.rewritten = _rewritten(before, _read_files(connection))


def _format_left_out(count: int) -> str:
    return f"{count:,} statements after the first {MOST_TEXTS:,} different texts were not recorded." if count else ""


class LockSampler:
    """Samples pg_locks, and without a relay also pg_stat_activity, every 20 ms from `open` to `close`."""

    def __init__(self, connection: psycopg.Connection[Any], log: StatementLog) -> None:
        self.log = log
        self.failed = ""
        self._connection = connection
        self._relay: Relay | None = None
        self._open = False
        self._activity: dict[tuple[int, object], tuple[str, float]] = {}  # (pid, start) of a sampled statement
        self._sampling = threading.Lock()  # one sample at a time, so that samples are recorded in order
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._sample_until_closed, daemon=True)

    def open(self, relay: Relay | None) -> None:
        """Start sampling."""
        self._relay, self._open = relay, True
        self._since = self._fetch("SELECT clock_timestamp()")[0][0]
        self._thread.start()

    def close(self) -> tuple[Statement, ...]:
        """Stop sampling and return every recorded statement."""
        self._closing.set()
        self._thread.join()
        self._open = False
        if self._relay is not None:
            self.failed = self.failed or self._relay.unread_reason
        for sql, seconds in self._activity.values():
            self.log.add_statement(sql, seconds, None)
        return self.log.close(time.monotonic())

    def on_event(self, session: RelayedSession, event: StatementEnded | ReadyForQuery) -> None:
        """Handle an event of the relay. The relay holds the response back, so that the transaction still holds its locks."""
        if not self._open:
            return
        pid = session.protocol.pid
        if isinstance(event, StatementEnded):
            self.log.add_statement(event.sql, event.ended - event.began, event.rows)
        elif not event.open:
            self.log.end_transaction(pid, event.at)
            session.sampled.clear()
        elif session.last is not None and session.last.sql not in session.sampled:  # the same text takes the same locks
            session.sampled.add(session.last.sql)
            self._sample_locks({pid: (session.last.sql, session.last.began)})

    def _sample_until_closed(self) -> None:
        while not self._closing.wait(EVERY_S) and not self.failed:
            if self._relay is None:
                self._sample_activity()
            else:
                self._sample_locks({})

    def _sample_locks(self, just_ended: dict[int, tuple[str, float]]) -> None:
        """Record the locks of each session under its running statement, or the one that has just ended.

        The locks are read before the running statement: a statement that starts between the two may have taken them.
        """
        with self._sampling, self._record_failure():
            at = time.monotonic()
            locks = self._locks() if self._relay is not None and self._relay.sessions else {}
            for pid, (sql, began) in (self._running() | just_ended).items():
                self.log.record_locks(pid, sql, began, locks.get(pid, set()), at)

    def _running(self) -> dict[int, tuple[str, float]]:
        statements = {}
        for session in list(self._relay.sessions if self._relay else ()):
            with session.mutex:
                running = session.protocol.running()
            if running is not None:
                statements[session.protocol.pid] = running
            elif session.last is not None:
                statements[session.protocol.pid] = session.last.sql, session.last.began
        return statements

    def _sample_activity(self) -> None:
        with self._sampling, self._record_failure():
            at, locks = time.monotonic(), self._locks()
            rows = [row for row in self._fetch(ACTIVITY) if row[2] >= self._since]
            for pid, sql, start, seconds in rows:
                self._activity[pid, start] = sql, seconds
                self.log.record_locks(pid, sql, at - seconds, locks.get(pid, set()), at)
            for pid in {pid for pid, _ in self._activity} - {row[0] for row in rows}:
                self.log.end_transaction(pid, at)

    def _locks(self) -> dict[int, set[tuple[str, LockMode]]]:
        locks: dict[int, set[tuple[str, LockMode]]] = {}
        for pid, table, mode in self._fetch(LOCKS):
            if mode in MODES:
                locks.setdefault(pid, set()).add((table, MODES[mode]))
        return locks

    def _fetch(self, query: str) -> Sequence[tuple[Any, ...]]:
        return self._connection.execute(query.encode()).fetchall()

    @contextlib.contextmanager
    def _record_failure(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            self.failed = f"Sampling the locks failed: {str(error).strip().splitlines()[0]}."


def _start_relay(
    connection: psycopg.Connection[Any], database: PostgreSQL, sampler: LockSampler
) -> tuple[Relay | None, str]:
    """Return a relay that was tested with the database's own URL, or the reason why there is none."""
    info = connection.info
    relay = Relay(info.host if info.host.startswith("/") else info.hostaddr, info.port, sampler.on_event)
    relay.start()
    try:
        with _connected(_through(relay, database.url)):
            reason = relay.unread_reason
    except Unavailable as error:
        reason = error.failed
    if not reason:
        return relay, ""
    relay.stop()
    return None, f"Statements are sampled, and short ones may be missing. {reason}"


def _through(relay: Relay, url: URL) -> PostgreSQL:
    plain = url.difference_update_query(["host", "port", "hostaddr"]).set(host=HOST, port=relay.port)
    return PostgreSQL(plain.render_as_string(hide_password=False))


def _read_files(connection: psycopg.Connection[Any]) -> dict[int, tuple[str, int, int]]:
    """Return the name, file number and size in bytes of each table, by oid."""
    return {row[0]: (row[1], row[2], row[3]) for row in connection.execute(FILES.encode())}


def _rewritten(before: dict[int, tuple[str, int, int]], after: dict[int, tuple[str, int, int]]) -> tuple[str, ...]:
    """Return the tables whose rows are in a new file. Empty tables are left out: TRUNCATE is not a rewrite."""
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
