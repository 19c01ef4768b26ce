"""MariaDB and MySQL: the schema as text, sums over all rows, and a copy on the same server by the dump tool."""

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
from slipway.databases.database import COPY_PREFIX, Database, TellsNoLocks
from slipway.databases.disk_space import check_room, check_time
from slipway.databases.given_queries import told_of, verbatim
from slipway.databases.mariadb.schema import SIZE, names_of_another, quoted, read_contents, read_schema
from slipway.databases.mariadb.tools import SSL, client_tools, dump_into

EXPECTED = "mysql+pymysql://user:password@host/name"
DRIVER = "mysql+pymysql"  # ours, whatever driver the service's own URL names
LIMITED = ("pymysql", "mysqldb", "aiomysql", "asyncmy")  # drivers that run an `init_command` given in the URL
FASTEST_BYTES_PER_S = (
    20e6  # of dump and restore; a loaded machine with two cores and a small buffer pool made 2 MB a second
)
LOCK_WITHIN_S = 30.0
LOOK_EVERY_S = 0.1
END_WITHIN_S = 10.0
STARTED = "SELECT UNIX_TIMESTAMP() - VARIABLE_VALUE FROM {}.GLOBAL_STATUS WHERE VARIABLE_NAME = 'Uptime'"
UNCHECKED = {
    "statements-not-seen": (
        "The statements of the upgrade were not seen with their time and locks.",
        "They are watched on PostgreSQL only. Most ALTER TABLE write the whole table anew: look at the upgrade's time.",
    ),
    "indexes-not-checked": (
        "Indexes were not compared.",
        "The catalogue of duplicate, covered and unused indexes is read from PostgreSQL only.",
    ),
    "plans-not-checked": ("Plans of queries were not compared.", "They are read from PostgreSQL only."),
    "sql-not-checked": ("The migration's SQL was not linted.", "The linter and our own rules read PostgreSQL's SQL."),
    "blockers-not-named": (
        "Who keeps a live migration from a lock is not named.",
        "The server tells it only with plugins or settings that are off by default.",
    ),
    "events-not-copied": ("Events of the database were not rehearsed.", "On a copy they would run by themselves."),
}
LIMIT_NOT_SET = (
    "lock-limit-not-set",
    "How long a live try waits for a lock is left to the service.",
    f"lock_timeout_s goes by `init_command`, which a URL carries for {', '.join(LIMITED)} only. Sessions of a killed command "
    "are not found either.",
)
ROOM_UNKNOWN = (
    "room-not-checked",
    "Whether the server has room for the copy was not checked.",
    "It is on another host, and tells nobody how much of its disk is free.",
)


class MariaDB(TellsNoLocks):
    """One database of a MariaDB or MySQL server."""

    def __init__(self, url: URL) -> None:
        if not url.database:
            raise InvalidInput("The database URL names no database.", expected=EXPECTED)
        self.url = url

    @property
    def name(self) -> str:
        """The database's name on its server."""
        return str(self.url.database)

    @property
    def unchecked(self) -> tuple[Finding, ...]:
        """What only PostgreSQL tells, and what this server or driver does not let us do."""
        told = [(code, *words) for code, words in UNCHECKED.items()]
        told += [] if self._limits_reach() else [LIMIT_NOT_SET]
        told += [] if _is_here(self.url) else [ROOM_UNKNOWN]
        return tuple(Finding(code=code, level="info", summary=said, explanation=why) for code, said, why in told)

    def check(self) -> None:
        """Raise SlipwayError without the dump tool, and Unavailable where the server does not answer."""
        client_tools()
        self._value("SELECT 1")

    def connection_url(self) -> str:
        """The URL with its password, for the environment of the service's own commands."""
        return self.url.render_as_string(hide_password=False)

    def command_url(self, application: str, migrations: Migrations) -> str:
        """The URL with a command that each session begins with: it limits the waiting, and takes a lock as its name.

        It has none of the signs that a URL would have to encode: some services read theirs with a template's `%`.
        """
        if not self._limits_reach():
            return self.connection_url()
        seconds = max(1, math.ceil(migrations.lock_timeout_s))
        name = f"GET_LOCK(CONCAT(0x{self._lock(application).encode().hex()},CONNECTION_ID()),0)"
        command = f"SET+@slipway={name},lock_wait_timeout={seconds},innodb_lock_wait_timeout={seconds}"
        return f"{self.connection_url()}{'&' if self.url.query else '?'}init_command={command}"

    def first_column(self, query: str, most: int) -> list[object]:
        """The first column of a query that may only read, at most so many rows. Raises InvalidInput."""
        with self._connected() as connection, told_of(query):
            connection.exec_driver_sql("SET SESSION TRANSACTION READ ONLY")
            return [row[0] for row in connection.execute(verbatim(query)).fetchmany(most)]

    def size_bytes(self) -> int:
        """Tables and indexes, in bytes, as the server estimates them."""
        return int(str(self._value(SIZE)))

    def schema(self) -> str:
        """The schema as text. Raises as `read_schema`."""
        with self._connected() as connection:
            return read_schema(connection)

    def contents(self) -> tuple[TableContents, ...]:
        """The sums of every table."""
        with self._connected() as connection, ThreadPoolExecutor(1) as pool:

            def waited(ask: Callable[[], Any]) -> Any:
                answer = pool.submit(ask)
                try:
                    while not wait([answer], timeout=cancellation.EVERY_S).done:
                        cancellation.check()
                    return answer.result()
                except BaseException:
                    self._end_sessions_of_copy()
                    raise

            return read_contents(connection, waited)

    @contextmanager
    def copied(self, label: str) -> Iterator[MariaDB]:
        """A copy on the same server by dump and restore, dropped at the end, and before it what a dead run left.

        Raises SlipwayError without room or time, and where something of the copy would reach the live database.
        """
        needed = self.size_bytes()
        check_time(needed, FASTEST_BYTES_PER_S, f"the copy of {self.name}")
        folder = Path(str(self._value("SELECT @@datadir")))
        if _is_here(self.url) and folder.is_dir():
            check_room(folder, 2 * needed, f"the copy of {self.name} and a migration of it")
        with self.empty(label) as copy:
            dump_into(self._ours(), copy.name)
            with copy._connected() as connection:
                reaching = names_of_another(connection, self.name)
            if reaching:
                raise SlipwayError(
                    f"On a copy these would still reach the live database {self.name} by its name: {', '.join(reaching)}.",
                    expected="Triggers, routines and views that name no database.",
                    retry_is_safe=True,
                )
            yield copy

    @contextmanager
    def empty(self, label: str) -> Iterator[MariaDB]:
        """An empty database on the same server, with the settings of this one; dropped at the end."""
        made = MariaDB(self.url.set(database=COPY_PREFIX + re.sub(r"[^a-z0-9-]", "", label.lower())[:40]))
        if made.name.lower() == self.name.lower():
            raise InvalidInput(
                f"{self.name} is the name of a copy.", expected=f"A live database that is not {COPY_PREFIX}…"
            )
        charset, collation = self._row("SELECT @@character_set_database, @@collation_database")
        self._drop(made)
        self._do(f"CREATE DATABASE {quoted(made.name)} CHARACTER SET {charset} COLLATE {collation}")
        try:
            yield made
        finally:
            self._drop(made)

    def is_same(self, other: Database) -> bool:
        """Whether a lock taken by one is seen by the other, and both say the same name. Raises Unavailable."""
        if not isinstance(other, MariaDB):
            return False
        lock, name = secrets.token_hex(16), text("SELECT lower(DATABASE()), IS_USED_LOCK(:lock) IS NOT NULL")
        with self._connected() as mine, other._connected() as theirs:
            mine.execute(text("SELECT GET_LOCK(:lock, 0)"), {"lock": lock})
            return bool(mine.execute(name, {"lock": lock}).one() == theirs.execute(name, {"lock": lock}).one())

    def server_started(self) -> str:
        """When the server was started, by its own clock. Raises Unavailable."""
        mariadb = "MariaDB" in str(self._value("SELECT VERSION()"))
        return str(self._value(STARTED.format("information_schema" if mariadb else "performance_schema")))

    @contextmanager
    def only_mover(self) -> Iterator[None]:
        """Hold a named lock of the server. Raises Unavailable when another does."""
        with self._connected() as connection:
            connection.exec_driver_sql("SET SESSION wait_timeout = 604800")  # the session is idle while others work
            deadline = time.monotonic() + LOCK_WITHIN_S
            query = text("SELECT GET_LOCK(:lock, 0)")
            while connection.execute(query, {"lock": self._lock("one migration at a time")}).scalar_one() != 1:
                if time.monotonic() > deadline:
                    raise Unavailable(
                        f"Somebody else migrates {self.name}.", expected="One migration at a time of one database."
                    )
                time.sleep(LOOK_EVERY_S)
            yield

    def end_sessions(self, application: str) -> int:
        """End the sessions that hold the lock by which `command_url` names them, and wait until they are gone."""
        with self._connected() as connection:
            return self._end(connection, "IS_USED_LOCK(CONCAT(:lock, ID)) = ID", lock=self._lock(application))

    def _limits_reach(self) -> bool:
        return self.url.drivername.partition("+")[2] in LIMITED and "init_command" not in self.url.query

    def _lock(self, what: str) -> str:
        """The name of a lock, which is one for the whole server and may have 64 signs."""
        return f"slipway {hashlib.sha256(f'{self.name.lower()} {what}'.encode()).hexdigest()[:24]}:"

    def _drop(self, copy: MariaDB) -> None:
        copy._end_sessions_of_copy()  # a killed command's statement would keep it from being dropped
        self._do(f"DROP DATABASE IF EXISTS {quoted(copy.name)}")

    def _end_sessions_of_copy(self) -> None:
        if self.name.startswith(COPY_PREFIX):
            with self._connected(inside=False) as connection:
                self._end(connection, "DB = :name", name=self.name)

    def _end(self, connection: Connection, which: str, **parameters: str) -> int:
        query = f"SELECT ID FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() AND {which}"  # noqa: S608 - ours
        found = set(connection.execute(text(query), parameters).scalars())
        for number in found:
            with suppress(SQLAlchemyError):  # it has ended by itself
                connection.exec_driver_sql(f"KILL {int(number)}")
        deadline = time.monotonic() + END_WITHIN_S
        ids = text("SELECT ID FROM information_schema.PROCESSLIST")
        while found & set(connection.execute(ids).scalars()) and time.monotonic() < deadline:
            time.sleep(LOOK_EVERY_S / 2)
        return len(found)

    def _do(self, statement: str) -> None:
        with self._connected(inside=False) as connection:
            connection.exec_driver_sql(statement)

    def _value(self, query: str) -> object:
        return self._row(query)[0]

    def _row(self, query: str) -> tuple[object, ...]:
        with self._connected() as connection:
            return tuple(connection.execute(text(query)).one())

    def _ours(self) -> URL:
        """The URL for our own driver, without what only the service's knows."""
        kept = {key: value for key, value in self.url.query.items() if key in ("unix_socket", *SSL)}
        return self.url.set(drivername=DRIVER, query=kept)

    @contextmanager
    def _connected(self, *, inside: bool = True) -> Iterator[Connection]:
        url = self._ours().update_query_dict({"charset": "utf8mb4"})
        if not inside:
            url = url._replace(database=None)
        engine = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
        try:
            with engine.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            told = getattr(error, "orig", None)
            reason = str(told.args[-1] if told is not None and told.args else error).strip().splitlines()[0]
            raise Unavailable(
                f"Database {self.name}: {reason.rstrip('.')}.", expected="A database that answers."
            ) from None
        finally:
            engine.dispose()


def _is_here(url: URL) -> bool:
    """Whether the server runs on this host, as far as its address tells."""
    with suppress(ValueError):
        return ipaddress.ip_address(url.host or "127.0.0.1").is_loopback
    return url.host == "localhost"
