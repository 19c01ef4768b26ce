"""MariaDB and MySQL: the schema as text, checksums of all rows, and a copy on the same server made with the dump tool."""

from __future__ import annotations

import hashlib
import ipaddress
import math
import re
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from slipway.config.service import Migrations
from slipway.core import cancellation
from slipway.core.errors import InvalidInput, SlipwayError, Unavailable
from slipway.core.finding import Finding
from slipway.databases.checksums import TableContents
from slipway.databases.database import COPY_PREFIX, Database, NoLockInformation
from slipway.databases.disk_space import require_copy_time, require_disk_space
from slipway.databases.given_queries import translate_errors, verbatim
from slipway.databases.mariadb.schema import SIZE, quoted, read_contents, read_schema, references_to
from slipway.databases.mariadb.tools import SSL, client_tools, dump_into

EXPECTED = "mysql+pymysql://user:password@host/name"
DRIVER = "mysql+pymysql"  # Slipway's driver; the URL of the service may name another
LIMITED = ("pymysql", "mysqldb", "aiomysql", "asyncmy")  # drivers that run an `init_command` given in the URL
FASTEST_BYTES_PER_S = (
    20e6  # for dump and restore; a loaded machine with two cores and a small buffer pool reached 2 MB per second
)
LOCK_WITHIN_S = 30.0
POLL_EVERY_S = 0.1
END_WITHIN_S = 10.0
STARTED = "SELECT UNIX_TIMESTAMP() - VARIABLE_VALUE FROM {}.GLOBAL_STATUS WHERE VARIABLE_NAME = 'Uptime'"
UNCHECKED = {
    "statements-not-seen": (
        "The statements of the upgrade were not recorded with their durations and locks.",
        "Statements are recorded on PostgreSQL only. Most ALTER TABLE rewrite the whole table: check the upgrade's time.",
    ),
    "indexes-not-checked": (
        "Indexes were not compared.",
        "Duplicate, covered and unused indexes are checked on PostgreSQL only.",
    ),
    "plans-not-checked": ("Query plans were not compared.", "Plans are compared on PostgreSQL only."),
    "sql-not-checked": (
        "The migration's SQL was not linted.",
        "The linter and Slipway's own rules support PostgreSQL's SQL only.",
    ),
    "blockers-not-named": (
        "Sessions that block a live migration are not reported.",
        "The server reports them only with plugins or settings that are off by default.",
    ),
    "events-not-copied": (
        "Events of the database were not rehearsed.",
        "Events on a copy would run on their own schedule.",
    ),
}
LIMIT_NOT_SET = (
    "lock-limit-not-set",
    "lock_timeout_s does not apply: the service decides how long a live migration waits for a lock.",
    f"Slipway sets lock_timeout_s with `init_command` in the URL, which only {', '.join(LIMITED)} support. Slipway "
    "cannot find the sessions of a killed command either.",
)
DISK_SPACE_UNKNOWN = (
    "room-not-checked",
    "The server's disk space for the copy was not checked.",
    "The server is on another host and does not report its free disk space.",
)


class MariaDB(NoLockInformation):
    """A database of a MariaDB or MySQL server."""

    def __init__(self, url: URL) -> None:
        if not url.database:
            raise InvalidInput("The database URL names no database.", expected=EXPECTED)
        self.url = url

    @property
    def name(self) -> str:
        """Return the database's name on its server."""
        return str(self.url.database)

    @property
    def unchecked(self) -> tuple[Finding, ...]:
        """Return the checks that need PostgreSQL, and those that this server or driver does not support."""
        checks = [(code, *texts) for code, texts in UNCHECKED.items()]
        checks += [] if self._supports_limits() else [LIMIT_NOT_SET]
        checks += [] if _is_local(self.url) else [DISK_SPACE_UNKNOWN]
        return tuple(Finding(code=code, level="info", summary=text, explanation=why) for code, text, why in checks)

    def check(self) -> None:
        """Raise SlipwayError if the dump tool is missing, and Unavailable if the server does not answer."""
        client_tools()
        self._value("SELECT 1")

    def connection_url(self) -> str:
        """Return the URL with its password, for the environment of the service's own commands."""
        return self.url.render_as_string(hide_password=False)

    def command_url(self, application: str, migrations: Migrations) -> str:
        """Return the URL with an `init_command` that limits lock waits and takes a named lock to identify the session.

        The command needs no percent-encoding, because some services process `%` in their URL as a template.
        """
        if not self._supports_limits():
            return self.connection_url()
        seconds = max(1, math.ceil(migrations.lock_timeout_s))
        name = f"GET_LOCK(CONCAT(0x{self._lock(application).encode().hex()},CONNECTION_ID()),0)"
        command = f"SET+@slipway={name},lock_wait_timeout={seconds},innodb_lock_wait_timeout={seconds}"
        return f"{self.connection_url()}{'&' if self.url.query else '?'}init_command={command}"

    def first_column(self, query: str, limit: int) -> list[object]:
        """Return the first column of a read-only query, at most `limit` rows. Raises InvalidInput if the query fails."""
        with self._connected() as connection, translate_errors(query):
            connection.exec_driver_sql("SET SESSION TRANSACTION READ ONLY")
            return [row[0] for row in connection.execute(verbatim(query)).fetchmany(limit)]

    def size_bytes(self) -> int:
        """Return the size of tables and indexes in bytes, as the server estimates them."""
        return int(str(self._value(SIZE)))

    def schema(self) -> str:
        """Return the schema as text. Raises as `read_schema`."""
        with self._connected() as connection:
            return read_schema(connection)

    def contents(self) -> tuple[TableContents, ...]:
        """Return the checksums of every table."""
        with self._connected() as connection, ThreadPoolExecutor(1) as pool:

            def run_interruptibly(query: Callable[[], Any]) -> Any:
                future = pool.submit(query)
                try:
                    while not wait([future], timeout=cancellation.EVERY_S).done:
                        cancellation.check()
                    return future.result()
                except BaseException:
                    self._end_sessions_of_copy()
                    raise

            return read_contents(connection, run_interruptibly)

    @contextmanager
    def copied(self, label: str) -> Iterator[MariaDB]:
        """Copy the database on the same server by dump and restore, and drop the copy at the end. First drop an old copy.

        Raises SlipwayError if disk space or time is too short, or if an object in the copy refers to the live database.
        """
        needed = self.size_bytes()
        require_copy_time(needed, FASTEST_BYTES_PER_S, f"the copy of {self.name}")
        folder = Path(str(self._value("SELECT @@datadir")))
        if _is_local(self.url) and folder.is_dir():
            require_disk_space(folder, 2 * needed, f"the copy of {self.name} and a migration of it")
        with self.empty(label) as copy:
            dump_into(self._client_url(), copy.name)
            with copy._connected() as connection:
                references = references_to(connection, self.name)
            if references:
                raise SlipwayError(
                    f"In a copy these would still use the live database {self.name} by its name: {', '.join(references)}.",
                    expected="Triggers, routines and views that do not name a database.",
                    retry_is_safe=True,
                )
            yield copy

    @contextmanager
    def empty(self, label: str) -> Iterator[MariaDB]:
        """Create an empty database on the same server with the settings of this one, and drop it at the end."""
        created = MariaDB(self.url.set(database=COPY_PREFIX + re.sub(r"[^a-z0-9-]", "", label.lower())[:40]))
        if created.name.lower() == self.name.lower():
            raise InvalidInput(
                f"{self.name} is a reserved name for copies.",
                expected=f"The live database's name does not start with {COPY_PREFIX}.",
            )
        charset, collation = self._row("SELECT @@character_set_database, @@collation_database")
        self._drop(created)
        self._execute(f"CREATE DATABASE {quoted(created.name)} CHARACTER SET {charset} COLLATE {collation}")
        try:
            yield created
        finally:
            self._drop(created)

    def is_same(self, other: Database) -> bool:
        """Return whether a lock taken in one is visible in the other, and both have the same name. Raises Unavailable."""
        if not isinstance(other, MariaDB):
            return False
        lock, query = secrets.token_hex(16), text("SELECT lower(DATABASE()), IS_USED_LOCK(:lock) IS NOT NULL")
        with self._connected() as first, other._connected() as second:
            first.execute(text("SELECT GET_LOCK(:lock, 0)"), {"lock": lock})
            return bool(first.execute(query, {"lock": lock}).one() == second.execute(query, {"lock": lock}).one())

    def server_started(self) -> str:
        """Return the start time of the server, by the server's clock. Raises Unavailable."""
        is_mariadb = "MariaDB" in str(self._value("SELECT VERSION()"))
        return str(self._value(STARTED.format("information_schema" if is_mariadb else "performance_schema")))

    @contextmanager
    def hold_migration_lock(self) -> Iterator[None]:
        """Hold a named lock of the server. Raises Unavailable if another session holds the lock for 30 s."""
        with self._connected() as connection:
            connection.exec_driver_sql("SET SESSION wait_timeout = 604800")  # the session is idle during the migration
            deadline = time.monotonic() + LOCK_WITHIN_S
            query = text("SELECT GET_LOCK(:lock, 0)")
            while connection.execute(query, {"lock": self._lock("one migration at a time")}).scalar_one() != 1:
                if time.monotonic() > deadline:
                    raise Unavailable(
                        f"Another process is migrating {self.name}.", expected="One migration of a database at a time."
                    )
                time.sleep(POLL_EVERY_S)
            yield

    def end_sessions(self, application: str) -> int:
        """End the sessions that hold the lock from `command_url`, and wait until they are gone. Return their number."""
        with self._connected() as connection:
            return self._end(connection, "IS_USED_LOCK(CONCAT(:lock, ID)) = ID", lock=self._lock(application))

    def _supports_limits(self) -> bool:
        return self.url.drivername.partition("+")[2] in LIMITED and "init_command" not in self.url.query

    def _lock(self, purpose: str) -> str:
        """Return the name of a lock. Lock names apply to the whole server and have at most 64 characters."""
        return f"slipway {hashlib.sha256(f'{self.name.lower()} {purpose}'.encode()).hexdigest()[:24]}:"

    def _drop(self, copy: MariaDB) -> None:
        copy._end_sessions_of_copy()  # a statement of a killed command would block the DROP
        self._execute(f"DROP DATABASE IF EXISTS {quoted(copy.name)}")

    def _end_sessions_of_copy(self) -> None:
        if self.name.startswith(COPY_PREFIX):
            with self._connected(select_database=False) as connection:
                self._end(connection, "DB = :name", name=self.name)

    def _end(self, connection: Connection, condition: str, **parameters: str) -> int:
        query = f"SELECT ID FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() AND {condition}"  # noqa: S608 - constants only
        sessions = set(connection.execute(text(query), parameters).scalars())
        for number in sessions:
            with suppress(SQLAlchemyError):  # the session has already ended
                connection.exec_driver_sql(f"KILL {int(number)}")
        deadline = time.monotonic() + END_WITHIN_S
        ids = text("SELECT ID FROM information_schema.PROCESSLIST")
        while sessions & set(connection.execute(ids).scalars()) and time.monotonic() < deadline:
            time.sleep(POLL_EVERY_S / 2)
        return len(sessions)

    def _execute(self, statement: str) -> None:
        with self._connected(select_database=False) as connection:
            connection.exec_driver_sql(statement)

    def _value(self, query: str) -> object:
        return self._row(query)[0]

    def _row(self, query: str) -> tuple[object, ...]:
        with self._connected() as connection:
            return tuple(connection.execute(text(query)).one())

    def _client_url(self) -> URL:
        """Return the URL for Slipway's driver, without parameters that only the service's driver supports."""
        query = {key: value for key, value in self.url.query.items() if key in ("unix_socket", *SSL)}
        return self.url.set(drivername=DRIVER, query=query)

    @contextmanager
    def _connected(self, *, select_database: bool = True) -> Iterator[Connection]:
        url = self._client_url().update_query_dict({"charset": "utf8mb4"})
        if not select_database:
            url = url._replace(database=None)
        engine = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
        try:
            with engine.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            cause = getattr(error, "orig", None)
            reason = str(cause.args[-1] if cause is not None and cause.args else error).strip().splitlines()[0]
            raise Unavailable(
                f"Database {self.name}: {reason.rstrip('.')}.", expected="A database that answers."
            ) from None
        finally:
            engine.dispose()


def _is_local(url: URL) -> bool:
    """Return whether the server's address is a loopback address, a local socket or localhost."""
    with suppress(ValueError):
        return ipaddress.ip_address(url.host or "127.0.0.1").is_loopback
    return url.host == "localhost"
