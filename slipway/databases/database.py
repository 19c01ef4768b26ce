"""What the steps need of a service's database, whatever its kind, and of a PostgreSQL only where one is connected to."""

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

# A table as a person calls it, of pg_class t and pg_namespace n; and a lock's mode by its name in pg_locks.
TABLE = "CASE n.nspname WHEN 'public' THEN t.relname ELSE n.nspname || '.' || t.relname END"
MODES: dict[str, LockMode] = {"".join(mode.title().split()) + "Lock": mode for mode in LOCK_MODES}
COPY_PREFIX = "slipway_copy_"
DRIVER = "postgresql+psycopg"  # ours, whatever driver the service's own URL names


VERSION_TABLES = ("alembic_version", "django_migrations")  # in which migration tools write where a database stands


class Address(Protocol):
    """Where a PostgreSQL database is: enough for who only connects to it."""

    url: URL

    @property
    def name(self) -> str:
        """The database's name on its server."""


class Blocker(FrozenModel):
    """A session that kept a migration from a lock."""

    pid: int
    application: str
    state: str
    query: str
    since: datetime

    def words(self) -> str:
        """Who it is, since when, and what it last ran."""
        name = f"{self.application}, " if self.application else ""
        return f"pid {self.pid} ({name}{self.state}, since {self.since:%H:%M:%S} UTC: {' '.join(self.query.split())})"


Look = Callable[[], list[Blocker]]


class Database(Protocol):
    """One database of a service, the live one or a copy. Connects on the first look, not when it is made.

    Methods raise Unavailable when the database does not answer, and SlipwayError for what goes wrong besides.
    """

    @property
    def name(self) -> str:
        """By what a person knows it: its name on the server, or its file."""

    @property
    def unchecked(self) -> tuple[Finding, ...]:
        """What a rehearsal does not look at in a database of this kind, each with the reason (level info)."""

    def check(self) -> None:
        """Raise InvalidInput or SlipwayError for what can be known to be missing before anything is begun."""

    def room(self) -> tuple[Finding, ...]:
        """Raise SlipwayError where a copy finds no room, if that is known before `copied`; what is not known is told."""

    def connection_url(self) -> str:
        """The URL with its password, for the environment of the service's own commands."""

    def command_url(self, application: str, migrations: Migrations) -> str:
        """The same for a live migration: with the limits and the name of its sessions, where a URL can carry them."""

    def first_column(self, query: str, most: int) -> list[object]:
        """The first column of a query that may only read, at most so many rows. Raises InvalidInput for what it says of it."""

    def size_bytes(self) -> int:
        """The size of the database, in bytes."""

    def schema(self) -> str:
        """The schema as text, the same for the same schema."""

    def contents(self) -> tuple[TableContents, ...]:
        """The sums over all rows of every table, in the order of their names; interruptible."""

    def copied(self, label: str) -> AbstractContextManager[Database]:
        """A copy to rehearse on, removed at the end; what a dead run of the same label left is removed first."""

    def empty(self, label: str) -> AbstractContextManager[Database]:
        """An empty database beside this one, removed at the end; what a dead run left is removed first."""

    def is_same(self, other: Database) -> bool:
        """Whether two addresses reach the same database, whatever names they use."""

    def server_started(self) -> str:
        """When the server was started; another answer later says that it went down in between."""

    def only_mover(self) -> AbstractContextManager[None]:
        """Within this block no other Slipway migrates this database. Raises Unavailable when one does."""

    def end_sessions(self, application: str) -> int:
        """End what commands of `application` still do here, and wait until they are gone."""

    def blockers_of(self, application: str) -> AbstractContextManager[list[Blocker]]:
        """Who blocks the sessions called `application` while the block lasts, as far as the database tells."""

    def in_the_way(self, wanted: Mapping[str, LockMode]) -> AbstractContextManager[Look]:
        """A look at whose open transactions exclude the wanted locks (by table), as far as the database tells."""

    def half_made(self) -> tuple[str, ...]:
        """What a broken build outside a transaction has left (invalid indexes)."""

    def drop_half_made(self, name: str) -> None:
        """Drop one of these."""


class TellsNoLocks:
    """The answers of a database that does not tell who holds its locks, and that leaves nothing half made."""

    @contextmanager
    def blockers_of(self, application: str) -> Iterator[list[Blocker]]:
        """Nobody that is known, as `unchecked` says."""
        yield []

    @contextmanager
    def in_the_way(self, wanted: Mapping[str, LockMode]) -> Iterator[Look]:
        """Nobody that is known."""
        yield list

    def half_made(self) -> tuple[str, ...]:
        """Nothing: a build that breaks off leaves no index."""
        return ()

    def drop_half_made(self, name: str) -> None:
        """Nothing, as there is none."""

    def room(self) -> tuple[Finding, ...]:
        """Nothing: `copied` looks for room itself."""
        return ()
