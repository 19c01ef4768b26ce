"""The interface of a service's database, for every database system, and what several PostgreSQL modules share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from typing import Protocol

from sqlalchemy import URL

from slipway.config.service import Migrations
from slipway.core.finding import Finding
from slipway.core.frozen import FrozenModel
from slipway.databases.catalog import LOCK_MODES, LockMode
from slipway.databases.checksums import TableContents

# TABLE: SQL for a table's name, from pg_class t and pg_namespace n. MODES: lock modes by their names in pg_locks.
TABLE = "CASE n.nspname WHEN 'public' THEN t.relname ELSE n.nspname || '.' || t.relname END"
MODES: dict[str, LockMode] = {"".join(mode.title().split()) + "Lock": mode for mode in LOCK_MODES}
COPY_PREFIX = "slipway_copy_"
DRIVER = "postgresql+psycopg"  # Slipway's driver; the URL of the service may name another


VERSION_TABLES = ("alembic_version", "django_migrations")  # in which migration tools record the revision of a database


class Address(Protocol):
    """The address of a PostgreSQL database, for code that only connects."""

    url: URL

    @property
    def name(self) -> str:
        """Return the database's name on its server."""


class Blocker(FrozenModel):
    """A session that holds a lock which a migration needs."""

    pid: int
    application: str
    state: str
    query: str
    since: datetime

    def describe(self) -> str:
        """Return the session's pid, application, state, start and latest query as text."""
        name = f"{self.application}, " if self.application else ""
        return f"pid {self.pid} ({name}{self.state}, since {self.since:%H:%M:%S} UTC: {' '.join(self.query.split())})"


ReadLockHolders = Callable[[], list[Blocker]]


class Database(Protocol):
    """A database of a service: the live database or a copy. The constructor does not connect; the methods do.

    Methods raise Unavailable if the database does not answer, and SlipwayError for other failures.
    """

    @property
    def name(self) -> str:
        """Return the name of the database on its server, or of its file."""

    @property
    def unchecked(self) -> tuple[Finding, ...]:
        """Return a finding (level info) with the reason for each check that a rehearsal skips on this database system."""

    def check(self) -> None:
        """Raise InvalidInput or SlipwayError if a requirement is missing, before anything starts."""

    def check_disk_space(self) -> tuple[Finding, ...]:
        """Raise SlipwayError if the disk space is too small for a copy. Return a finding if it cannot be checked."""

    def connection_url(self) -> str:
        """Return the URL with its password, for the environment of the service's own commands."""

    def command_url(self, application: str, migrations: Migrations) -> str:
        """Return the URL for a live migration, with its time limits and session name if the URL can carry them."""

    def first_column(self, query: str, limit: int) -> list[object]:
        """Return the first column of a read-only query, at most `limit` rows. Raises InvalidInput if the query fails."""

    def size_bytes(self) -> int:
        """Return the size of the database in bytes."""

    def schema(self) -> str:
        """Return the schema as text. Equal schemas give equal texts."""

    def contents(self) -> tuple[TableContents, ...]:
        """Return the checksums of every table, ordered by table name. Can be cancelled."""

    def copied(self, label: str) -> AbstractContextManager[Database]:
        """Copy the database, and remove the copy at the end. First remove the copy of a killed run with the same label."""

    def empty(self, label: str) -> AbstractContextManager[Database]:
        """Create an empty database next to this one, and remove it at the end. First remove leftovers of a killed run."""

    def is_same(self, other: Database) -> bool:
        """Return whether both addresses reach the same database, even under different names."""

    def server_started(self) -> str:
        """Return the start time of the server. A different value later means that the server restarted."""

    def hold_migration_lock(self) -> AbstractContextManager[None]:
        """Prevent other Slipway processes from migrating this database. Raises Unavailable if another one migrates it."""

    def end_sessions(self, application: str) -> int:
        """End the sessions of `application` and wait until they are gone. Return their number."""

    def watch_blockers(self, application: str) -> AbstractContextManager[list[Blocker]]:
        """Collect the sessions that block `application` during the block, if the database reports them."""

    def lock_holder_reader(self, locks: Mapping[str, LockMode]) -> AbstractContextManager[ReadLockHolders]:
        """Yield a function that returns the sessions whose transactions conflict with `locks` (mode by table), if known."""

    def invalid_indexes(self) -> tuple[str, ...]:
        """Return the invalid indexes that a failed build outside a transaction left."""

    def drop_invalid_index(self, name: str) -> None:
        """Drop an invalid index."""


class NoLockInformation:
    """Defaults for a database system that does not report lock holders and never leaves an invalid index."""

    @contextmanager
    def watch_blockers(self, application: str) -> Iterator[list[Blocker]]:
        """Yield an empty list: blocking sessions are unknown, and `unchecked` reports that."""
        yield []

    @contextmanager
    def lock_holder_reader(self, locks: Mapping[str, LockMode]) -> Iterator[ReadLockHolders]:
        """Yield a function that returns an empty list."""
        yield list

    def invalid_indexes(self) -> tuple[str, ...]:
        """Return nothing: a failed build leaves no index."""
        return ()

    def drop_invalid_index(self, name: str) -> None:
        """Do nothing: there is no invalid index."""

    def check_disk_space(self) -> tuple[Finding, ...]:
        """Return nothing: `copied` checks the disk space itself."""
        return ()
