"""SQLite: a file, its schema as text, and a copy to rehearse on, made by the backup API.

The live file is only ever opened for reading. Its copy is another file, in a folder for temporary files that only we can
read, under a name that is made from the live one's place, so that what a dead run left is found and removed.
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
from slipway.databases.database import COPY_PREFIX, Database, TellsNoLocks
from slipway.databases.disk_space import COPY_WITHIN_S, check_room, check_time, private_folder, temporary
from slipway.databases.given_queries import told_of
from slipway.databases.sqlite.schema import read_contents, read_schema

EXPECTED = "sqlite:////folder/file, or sqlite:///file seen from the service's directory"
PAGES_AT_ONCE = 1_000
FASTEST_BYTES_PER_S = 1e9  # a loaded machine with two cores made 320 MB a second
BUSY_S = 10.0
LOCK_WITHIN_S = 30.0
LOOK_EVERY_S = 0.1
BEGUN = b"SQLite format 3\0"
CUT_OFF = "a write was cut off and has to be undone, which whoever writes to it next does; Slipway only reads"
UNCHECKED = {
    "statements-not-seen": (
        "The statements of the upgrade were not seen with their time and locks.",
        "SQLite has no server in which they could be watched. A migration that writes locks the whole database.",
    ),
    "indexes-not-checked": (
        "Indexes were not compared.",
        "The catalogue of duplicate, covered and unused indexes is read from PostgreSQL only.",
    ),
    "plans-not-checked": ("Plans of queries were not compared.", "SQLite's planner tells no cost."),
    "sql-not-checked": ("The migration's SQL was not linted.", "The linter and our own rules read PostgreSQL's SQL."),
    "blockers-not-named": (
        "Who keeps a live migration from the lock is not named.",
        "SQLite does not tell who holds it.",
    ),
    "lock-limit-not-set": (
        "How long a live try waits for a lock is left to the service.",
        "It is the time-out of the service's own connection (5 s for Python's sqlite3), and not lock_timeout_s.",
    ),
}


class SQLite(TellsNoLocks):
    """One SQLite file. `directory` is where the service's commands run: a relative file is seen from there."""

    def __init__(self, url: URL, directory: Path) -> None:
        name = url.database or ""
        if name in ("", ":memory:") or name.startswith("file:") or "uri" in url.query:
            raise InvalidInput("The database URL names no file.", expected=EXPECTED)
        self.url = url
        self.path = (directory / name).resolve()

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name

    @property
    def unchecked(self) -> tuple[Finding, ...]:
        """What only PostgreSQL tells."""
        return tuple(
            Finding(code=code, level="info", summary=summary, explanation=why)
            for code, (summary, why) in UNCHECKED.items()
        )

    def check(self) -> None:
        """Raise InvalidInput where there is no SQLite file, and Unavailable where it cannot be read."""
        if not self.path.is_file():
            raise InvalidInput(f"There is no SQLite file {self.path}.", expected=EXPECTED)
        with self._told(), self.path.open("rb") as file:
            begun = file.read(len(BEGUN))
        if begun not in (b"", BEGUN):
            raise InvalidInput(f"{self.path} is no SQLite file.", expected=EXPECTED)
        if not self.path.with_name(
            f"{self.name}-journal"
        ).exists():  # one cut off is undone by the service's own command
            self.schema()

    def connection_url(self) -> str:
        """The URL, with the file's whole path."""
        return self.url.set(database=str(self.path)).render_as_string(hide_password=False)

    def command_url(self, application: str, migrations: Migrations) -> str:
        """The URL: SQLite's time-out is one of the connection, which only the service itself can set."""
        return self.connection_url()

    def first_column(self, query: str, most: int) -> list[object]:
        """The first column of a query that may only read, at most so many rows. Raises InvalidInput."""
        with self._reading() as connection, told_of(query):
            return [row[0] for row in connection.execute(query).fetchmany(most)]

    def size_bytes(self) -> int:
        """The pages of the database, in bytes; what its write-ahead log holds is counted once it is in a page."""
        with self._reading() as connection:
            [pages], [size] = (connection.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size"))
            return int(pages) * int(size)

    def schema(self) -> str:
        """The schema as text. Raises as `read_schema`."""
        with self._reading() as connection:
            return read_schema(connection)

    def contents(self) -> tuple[TableContents, ...]:
        """The sums of every table, of one moment."""
        with self._reading() as connection:
            connection.execute("BEGIN")
            return read_contents(connection)

    @contextmanager
    def copied(self, label: str) -> Iterator[SQLite]:
        """A copy by the backup API, which needs no quiet source; removed at the end, and before it what a dead run left.

        Raises SlipwayError without room or time.
        """
        needed = self.size_bytes() + self._log_bytes()
        check_time(needed, FASTEST_BYTES_PER_S, f"the copy of {self.name}")
        check_room(temporary(), 2 * needed, f"the copy of {self.name} and a migration of it")
        with self.empty(label) as copy:
            self._back_up(copy)
            yield copy

    @contextmanager
    def empty(self, label: str) -> Iterator[SQLite]:
        """An empty file in a folder of its own, removed at the end with its journals."""
        place = hashlib.sha256(str(self.path).encode()).hexdigest()[:12]
        folder = temporary().resolve() / f"{COPY_PREFIX}{label}-{place}"
        with private_folder(folder) as made:
            file = made / "copy.sqlite"
            file.touch(mode=0o600)
            yield SQLite(self.url.set(database=str(file)), made)

    def is_same(self, other: Database) -> bool:
        """Whether two paths lead to one file, over whatever links."""
        with self._told():
            return isinstance(other, SQLite) and os.path.samefile(self.path, other.path)

    def server_started(self) -> str:
        """Nothing: there is no server that could go down."""
        return ""

    @contextmanager
    def only_mover(self) -> Iterator[None]:
        """Hold a lock on a file beside the database, which is there only meanwhile. Raises Unavailable."""
        lock = self.path.with_name(f"{self.name}.slipway-lock")
        deadline = time.monotonic() + LOCK_WITHIN_S
        while (held := self._lock(lock)) is None:
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"Somebody else migrates {self.name}.", expected="One migration at a time of one database."
                )
            time.sleep(LOOK_EVERY_S)
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)  # while it is held, so that whoever waits for it sees that it is gone
            os.close(held)

    def end_sessions(self, application: str) -> int:
        """Kill the commands of `application` on this database that a dead attempt left: a session is its process here."""
        mine, found = self.connection_url(), []
        for process in psutil.process_iter():
            try:
                environment = process.environ()
            except (psutil.Error, OSError):  # another user's, or gone
                continue
            if environment.get("PGAPPNAME") == application and mine in environment.values():
                found.append(process)
                process.kill()
        psutil.wait_procs(found, timeout=BUSY_S)
        return len(found)

    def _lock(self, path: Path) -> int | None:
        with self._told():
            return _locked(path)

    def _back_up(self, copy: SQLite) -> None:
        deadline = time.monotonic() + COPY_WITHIN_S

        def look(status: int, left: int, total: int) -> None:
            cancellation.check()
            if time.monotonic() > deadline:
                raise SlipwayError(
                    f"The copy of {self.name} was not made within {COPY_WITHIN_S // 60} minutes: others write to it.",
                    expected="A quieter hour, or `PRAGMA journal_mode = WAL`, with which a copy reads one moment.",
                    retry_is_safe=True,
                )

        with self._reading() as source, copy._opened("rwc") as target:
            if source.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
                source.execute(
                    "BEGIN"
                )  # one moment, whoever writes meanwhile; otherwise a write begins the copy anew …
                source.execute("SELECT count(*) FROM sqlite_master").fetchone()  # … as readers would block the writer
            source.backup(target, pages=PAGES_AT_ONCE, progress=look)

    def _log_bytes(self) -> int:
        log = self.path.with_name(f"{self.name}-wal")
        return log.stat().st_size if log.exists() else 0

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
            connection.text_factory = lambda data: data.decode("utf-8", "surrogateescape")  # a text may be no UTF-8
            yield connection
        except sqlite3.Error as error:
            reason = CUT_OFF if "readonly database" in str(error) else str(error)
            raise Unavailable(f"Database {self.name}: {reason}.", expected="A database that answers.") from None
        finally:
            if connection is not None:
                connection.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise Unavailable(
                f"Database {self.name}: {os.strerror(error.errno or 0)}.", expected="A file that can be read."
            ) from None


def _locked(path: Path) -> int | None:
    """The locked file, or None while another has it, or has just removed it."""
    held = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    with contextlib.suppress(BlockingIOError, FileNotFoundError):
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.stat().st_ino == os.fstat(held).st_ino:
            return held
    os.close(held)
    return None
