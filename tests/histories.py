"""A small migration history for the real Alembic of the shop's environment, and a plan that uses it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg

from slipway.config.change import Change, Measure, Migrate, Target
from slipway.config.plan import Plan
from slipway.config.service import Database, Migrations, Service
from slipway.core.frozen import RouteAs
from slipway.core.settings import EnvironmentReference
from slipway.databases.postgresql.database import PostgreSQL
from slipway.migrations.tool import MigrationTool

SHOP = Path(__file__).parents[1] / "examples" / "shop"
BIN = SHOP / ".venv" / "bin"
VARIABLE = "TEST_LIVE_DATABASE_URL"
Move = tuple[str, str]  # the SQL of the upgrade and of the downgrade; "" does nothing, "AUTOCOMMIT " commits


class History:
    """Revisions 0001, 0002, … in their own folder, and the live database that they migrate."""

    def __init__(self, folder: Path, database_url: str, moves: Sequence[Move], bin_folder: Path = BIN) -> None:
        self.folder = folder
        self.bin_folder = bin_folder
        self.live = PostgreSQL(database_url)
        self.moves = moves
        self.limits: dict[str, Any] = {}
        (folder / "migrations" / "versions").mkdir(parents=True)
        (folder / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/migrations\npath_separator = os\n")
        shutil.copy(SHOP / "migrations" / "env.py", folder / "migrations")
        for number, move in enumerate(moves, start=1):
            self.add(f"{number:04}", f"{number - 1:04}" if number > 1 else None, move)

    def add(self, revision: str, after: str | tuple[str, ...] | None, move: Move) -> None:
        """Write a revision after another one, or after several, which it merges."""
        up, down = (_body(sql) for sql in move)
        text = (
            f"from alembic import op\nrevision = {revision!r}\ndown_revision = {after!r}\n"
            f"def upgrade():\n    {up}\ndef downgrade():\n    {down}\n"
        )
        (self.folder / "migrations" / "versions" / f"{revision}.py").write_text(text)

    def set_revision(self, *revisions: str) -> None:
        """Set the database to a revision with plain SQL, which is faster than Alembic. Several revisions are heads."""
        self.run("CREATE TABLE IF NOT EXISTS alembic_version (version_num varchar(32) PRIMARY KEY)")
        for sql, _ in self.moves[: int(revisions[0])]:
            for part in filter(None, sql.split("AUTOCOMMIT ")):
                self.run(part)
        for revision in revisions:
            self.run(f"INSERT INTO alembic_version VALUES ('{revision}')")

    def run(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a statement on the live database, and return its rows."""
        with psycopg.connect(self.live.connection_url().replace("+psycopg", ""), autocommit=True) as connection:
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else []

    @property
    def last(self) -> str:
        """The last of the numbered revisions."""
        return f"{len(self.moves):04}"

    def version(self) -> str:
        """Return the revision of the live database from its version table."""
        return ", ".join(sorted(row[0] for row in self.run("SELECT version_num FROM alembic_version")))

    def databases(self) -> set[str]:
        """Return the names of all databases of the server."""
        return {row[0] for row in self.run("SELECT datname FROM pg_database")}

    def service(self, url: str = "http://127.0.0.1:9") -> Service:
        """Return a service with this history."""
        return Service(
            name="shop",
            url=url,
            directory=self.folder,
            routes=("/health", "/products/*"),
            database=Database(url=EnvironmentReference(env=VARIABLE)),
            migrations=Migrations(preset="alembic", bin=str(self.bin_folder), **self.limits),
        )

    def tool(self) -> MigrationTool:
        """Return the service's migration tool for the live database."""
        return MigrationTool(self.service(), self.live.connection_url(), self.folder)

    def plan(self, start: str, to: str) -> Plan:
        """Return the plan of a change with a migration."""
        return plan_of(self.service(), Migrate(start=start, to=to))


def _body(sql: str) -> str:
    """Return the body of a revision's function; each part after AUTOCOMMIT runs in an autocommit block."""
    if not sql:
        return "pass"
    first, *parts = sql.split("AUTOCOMMIT ")
    lines = [f"op.execute({first!r})"] if first else []
    lines += [f"with op.get_context().autocommit_block(): op.execute({part!r})" for part in parts]
    return "\n    ".join(lines)


ORDERS: Move = ("CREATE TABLE orders (id int PRIMARY KEY, total int, note text)", "DROP TABLE orders")
KINDS: dict[str, Move] = {  # kinds of revisions in a deep history; {n} is the revision's number
    "column": ("ALTER TABLE orders ADD COLUMN c{n} int DEFAULT {n}", "ALTER TABLE orders DROP COLUMN c{n}"),
    "empty downgrade": ("CREATE TABLE t{n} (id int REFERENCES orders)", ""),
    "index": ("CREATE INDEX i{n} ON orders (note)", "DROP INDEX i{n}"),
    "concurrent index": (
        "AUTOCOMMIT CREATE INDEX CONCURRENTLY i{n} ON orders (total)",
        "AUTOCOMMIT DROP INDEX CONCURRENTLY i{n}",
    ),
    "rows": ("UPDATE orders SET total = total + {n}", "UPDATE orders SET total = total - {n}"),
    "autocommit": (
        "ALTER TABLE orders ADD COLUMN c{n} int AUTOCOMMIT CREATE INDEX CONCURRENTLY i{n} ON orders (c{n})",
        "AUTOCOMMIT DROP INDEX CONCURRENTLY i{n} AUTOCOMMIT ALTER TABLE orders DROP COLUMN c{n}",
    ),
    "lossy": ("UPDATE orders SET note = 'note of {n}'", "UPDATE orders SET note = NULL"),
}
DEPTH = 56  # linear revisions; two branches and their merge follow


def revision_of(kind: str, number: int) -> Move:
    """Return a revision of a kind, with its own objects."""
    up, down = KINDS[kind]
    return up.replace("{n}", str(number)), down.replace("{n}", str(number))


def deep_history(folder: Path, database_url: str, bin_folder: Path = BIN) -> History:
    """Return a history: 0001 creates orders, all kinds in turn up to 0056, then 0057a and 0057b, merged by 0058."""
    kinds = list(KINDS)
    moves = [revision_of(kinds[number % len(kinds)], number) for number in range(2, DEPTH + 1)]
    history = History(folder, database_url, [ORDERS, *moves], bin_folder)
    history.add("0057a", "0056", ("ALTER TABLE orders ADD COLUMN a int", "ALTER TABLE orders DROP COLUMN a"))
    history.add("0057b", "0056", ("ALTER TABLE orders ADD COLUMN b int", "ALTER TABLE orders DROP COLUMN b"))
    history.add("0058", ("0057a", "0057b"), ("CREATE INDEX merged ON orders (a, b)", "DROP INDEX merged"))
    return history


def plan_of(service: Service, migrate: Migrate | None = None) -> Plan:
    """Return the plan of a change for a service."""
    measure = Measure(targets=(Target(route="/products/1"),), control=RouteAs(route="/products/2"))
    texts = {"owner": "shop team", "reason": "it is slow", "expected": "it is faster", "rollback": "nothing is lost"}
    change = Change(service=service.name, **texts, migrate=migrate, measure=measure)
    return Plan(name="faster", digest="0" * 64, change=change, service=service, commit="", files=(), migration_sql="")
