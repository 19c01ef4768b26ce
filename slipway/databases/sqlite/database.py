"""SQLite: a file, its schema as text, and a copy for rehearsals, made with the backup API.

The live file is only opened for reading. The copy is in a temporary folder that only this user can read. The folder's
name is derived from the path of the live file, so that the next run finds and removes the copy of a killed run.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import psutil
from sqlalchemy import URL

from slipway.config.service import Migrations
from slipway.core import cancellation
from slipway.core.errors import InvalidInput, SlipwayError, Unavailable
from slipway.core.finding import Finding
from slipway.databases.checksums import TableContents
from slipway.databases.database import COPY_PREFIX, Database, NoLockInformation
from slipway.databases.disk_space import COPY_WITHIN_S, private_folder, require_copy_time, require_disk_space, temporary
from slipway.databases.given_queries import translate_errors
from slipway.databases.sqlite.schema import read_contents, read_schema

EXPECTED = "sqlite:////folder/file, or sqlite:///file relative to the service's directory"
PAGES_AT_ONCE = 1_000
FASTEST_BYTES_PER_S = 1e9  # a loaded machine with two cores reached 320 MB per second
BUSY_S = 10.0
LOCK_WITHIN_S = 30.0
POLL_EVERY_S = 0.1
FILE_HEADER = b"SQLite format 3\0"
CUT_OFF = (
    "an interrupted write must be rolled back; the next process that writes to the file does that, Slipway only reads"
)
UNCHECKED = {
    "statements-not-seen": (
        "The statements of the upgrade were not recorded with their durations and locks.",
        "SQLite has no server that reports them. A migration that writes locks the whole database.",
    ),
    "indexes-not-checked": (
        "Indexes were not compared.",
        "Duplicate, covered and unused indexes are checked on PostgreSQL only.",
    ),
    "plans-not-checked": ("Query plans were not compared.", "SQLite's planner does not report costs."),
    "sql-not-checked": (
        "The migration's SQL was not linted.",
        "The linter and Slipway's own rules support PostgreSQL's SQL only.",
    ),
    "blockers-not-named": (
        "Processes that block a live migration are not reported.",
        "SQLite does not report which process holds the lock.",
    ),
    "lock-limit-not-set": (
        "lock_timeout_s does not apply: the service decides how long a live migration waits for a lock.",
        "The service's own connection sets the time-out (Python's sqlite3: 5 s by default).",
    ),
}


class SQLite(NoLockInformation):
    """A SQLite file. A relative path is resolved from `directory`, where the service's commands run."""

    def __init__(self, url: URL, directory: Path) -> None:
        name = url.database or ""
        if name in ("", ":memory:") or name.startswith("file:") or "uri" in url.query:
            raise InvalidInput("The database URL does not name a file.", expected=EXPECTED)
        self.url = url
        self.path = (directory / name).resolve()

    @property
    def name(self) -> str:
        """Return the file's name."""
        return self.path.name

    @property
    def unchecked(self) -> tuple[Finding, ...]:
        """Return the checks that SQLite does not support."""
        return tuple(
            Finding(code=code, level="info", summary=summary, explanation=why)
            for code, (summary, why) in UNCHECKED.items()
        )

    def check(self) -> None:
        """Raise InvalidInput if the file does not exist or is not a SQLite file, and Unavailable if it cannot be read."""
        if not self.path.is_file():
            raise InvalidInput(f"The SQLite file {self.path} does not exist.", expected=EXPECTED)
        with self._file_errors(), self.path.open("rb") as file:
            header = file.read(len(FILE_HEADER))
        if header not in (b"", FILE_HEADER):
            raise InvalidInput(f"{self.path} is not a SQLite file.", expected=EXPECTED)
        if not self.path.with_name(
            f"{self.name}-journal"
        ).exists():  # the service's own command rolls back an interrupted write
            self.schema()

    def connection_url(self) -> str:
        """Return the URL with the absolute path of the file."""
        return self.url.set(database=str(self.path)).render_as_string(hide_password=False)

    def command_url(self, application: str, migrations: Migrations) -> str:
        """Return the URL without a limit: the lock time-out belongs to the connection, and only the service can set it."""
        return self.connection_url()

    def first_column(self, query: str, limit: int) -> list[object]:
        """Return the first column of a read-only query, at most `limit` rows. Raises InvalidInput if the query fails."""
        with self._reading() as connection, translate_errors(query):
            return [row[0] for row in connection.execute(query).fetchmany(limit)]

    def size_bytes(self) -> int:
        """Return the size of the database's pages in bytes. Data that is only in the write-ahead log is not counted."""
        with self._reading() as connection:
            [pages], [size] = (connection.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size"))
            return int(pages) * int(size)

    def schema(self) -> str:
        """Return the schema as text. Raises as `read_schema`."""
        with self._reading() as connection:
            return read_schema(connection)

    def contents(self) -> tuple[TableContents, ...]:
        """Return the checksums of every table, read in one transaction."""
        with self._reading() as connection:
            connection.execute("BEGIN")
            return read_contents(connection)

    @contextmanager
    def copied(self, label: str) -> Iterator[SQLite]:
        """Copy the file with the backup API while others use it, and remove the copy at the end. First remove an old copy.

        Raises SlipwayError if disk space or time is too short.
        """
        needed = self.size_bytes() + self._wal_bytes()
        require_copy_time(needed, FASTEST_BYTES_PER_S, f"the copy of {self.name}")
        require_disk_space(temporary(), 2 * needed, f"the copy of {self.name} and a migration of it")
        with self.empty(label) as copy:
            self._back_up(copy)
            yield copy

    @contextmanager
    def empty(self, label: str) -> Iterator[SQLite]:
        """Create an empty file in its own folder, and remove the folder at the end, with the journals."""
        path_hash = hashlib.sha256(str(self.path).encode()).hexdigest()[:12]
        folder = temporary().resolve() / f"{COPY_PREFIX}{label}-{path_hash}"
        with private_folder(folder) as created:
            file = created / "copy.sqlite"
            file.touch(mode=0o600)
            yield SQLite(self.url.set(database=str(file)), created)

    def is_same(self, other: Database) -> bool:
        """Return whether both paths lead to the same file. Links are followed."""
        with self._file_errors():
            return isinstance(other, SQLite) and os.path.samefile(self.path, other.path)

    def server_started(self) -> str:
        """Return an empty text: SQLite has no server."""
        return ""

    @contextmanager
    def hold_migration_lock(self) -> Iterator[None]:
        """Lock a file next to the database, and remove it at the end. Raises Unavailable if another process holds the lock."""
        path = self.path.with_name(f"{self.name}.slipway-lock")
        deadline = time.monotonic() + LOCK_WITHIN_S
        while (descriptor := self._lock(path)) is None:
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"Another process is migrating {self.name}.", expected="One migration of a database at a time."
                )
            time.sleep(POLL_EVERY_S)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)  # before releasing the lock, so that waiting processes see that it is gone
            os.close(descriptor)

    def end_sessions(self, application: str) -> int:
        """Kill the processes that a killed attempt of `application` left on this database. Return their number."""
        url, killed = self.connection_url(), []
        for process in psutil.process_iter():
            try:
                environment = process.environ()
            except (psutil.Error, OSError):  # the process belongs to another user or has ended
                continue
            if environment.get("PGAPPNAME") == application and url in environment.values():
                killed.append(process)
                process.kill()
        psutil.wait_procs(killed, timeout=BUSY_S)
        return len(killed)

    def _lock(self, path: Path) -> int | None:
        with self._file_errors():
            return _lock_file(path)

    def _back_up(self, copy: SQLite) -> None:
        deadline = time.monotonic() + COPY_WITHIN_S

        def check_progress(status: int, left: int, total: int) -> None:
            cancellation.check()
            if time.monotonic() > deadline:
                raise SlipwayError(
                    f"The copy of {self.name} was not complete within {COPY_WITHIN_S // 60} minutes: others write to the file.",
                    expected="A time with fewer writes, or `PRAGMA journal_mode = WAL`: then writes do not restart the copy.",
                    retry_is_safe=True,
                )

        with self._reading() as source, copy._opened("rwc") as target:
            if source.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
                # With WAL, a read transaction gives one snapshot while others write. Without WAL, it would block writers,
                # so there is none, and each write restarts the copy.
                source.execute("BEGIN")
                source.execute("SELECT count(*) FROM sqlite_master").fetchone()
            source.backup(target, pages=PAGES_AT_ONCE, progress=check_progress)

    def _wal_bytes(self) -> int:
        wal = self.path.with_name(f"{self.name}-wal")
        return wal.stat().st_size if wal.exists() else 0

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._opened("ro") as connection:
            yield connection

    @contextmanager
    def _opened(self, mode: Literal["ro", "rwc"]) -> Iterator[sqlite3.Connection]:
        connection: sqlite3.Connection | None = None
        try:
            address = f"file:{quote(str(self.path))}?mode={mode}"
            connection = sqlite3.connect(address, uri=True, timeout=BUSY_S, isolation_level=None)
            connection.text_factory = lambda data: data.decode("utf-8", "surrogateescape")  # text may be invalid UTF-8
            yield connection
        except sqlite3.Error as error:
            reason = CUT_OFF if "readonly database" in str(error) else str(error)
            raise Unavailable(f"Database {self.name}: {reason}.", expected="A database that answers.") from None
        finally:
            if connection is not None:
                connection.close()

    @contextmanager
    def _file_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise Unavailable(
                f"Database {self.name}: {os.strerror(error.errno or 0)}.", expected="A file that Slipway can read."
            ) from None


def _lock_file(path: Path) -> int | None:
    """Return the descriptor of the locked file, or None if another process holds the lock or has just removed the file."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    with contextlib.suppress(BlockingIOError, FileNotFoundError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.stat().st_ino == os.fstat(descriptor).st_ino:
            return descriptor
    os.close(descriptor)
    return None
