"""A small migration history for a plain command-line tool, for any database, and a plan that uses it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from slipway.config.change import Migrate
from slipway.config.plan import Plan
from slipway.config.service import Database, MigrationCommands, Migrations, Service
from slipway.core.settings import EnvironmentReference
from slipway.databases.database import Database as Live
from slipway.databases.opening import live_database
from tests.histories import VARIABLE, plan_of

BIN = Path(sys.executable).parent
Move = tuple[str, str]  # the SQL of the upgrade and of the downgrade, separated by ";"; "" does nothing

# Each statement commits, so that a migration that fails half-way stays half done.
TOOL = """
import json, os, sys
from sqlalchemy import create_engine, inspect
from sqlalchemy.pool import NullPool
action, *revisions = sys.argv[1:]
moves = json.load(open("moves.json"))
if action == "sql":
    print("SELECT 1;")
    sys.exit(int(revisions[1]) > len(moves))
engine = create_engine(os.environ["DATABASE_URL"], isolation_level="AUTOCOMMIT", poolclass=NullPool)
with engine.connect() as connection:
    def run(sql):
        for statement in filter(None, sql.split(";")):
            connection.exec_driver_sql(statement)
    def set_revision(revision):
        run("DELETE FROM alembic_version")
        run(f"INSERT INTO alembic_version VALUES ('{revision:04}')")
    exists = inspect(connection).has_table("alembic_version")
    current = int(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() or 0) if exists else 0
    if action == "current":
        print(f"{current:04}" if current else "")
    elif action == "up":
        if not exists:
            run("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
        for number in range(current + 1, int(revisions[0]) + 1):
            run(moves[number - 1][0])
            set_revision(number)
    else:
        for number in range(current, int(revisions[0]), -1):
            run(moves[number - 1][1])
            set_revision(number - 1)
"""


class PlainHistory:
    """Revisions 0001, 0002, … in their own folder, and the live database that they migrate."""

    def __init__(self, folder: Path, database_url: str, moves: Sequence[Move], bin_folder: Path = BIN) -> None:
        self.folder = folder
        self.bin_folder = bin_folder
        self.url = database_url
        self.limits: dict[str, Any] = {}
        (folder / "migrate.py").write_text(TOOL)
        (folder / "moves.json").write_text(json.dumps(moves))

    @property
    def live(self) -> Live:
        """The live database, opened as in the steps; VARIABLE contains its URL."""
        return live_database(self.service(), self.folder)

    def set_first_revision(self, *rows: str) -> None:
        """Run the first revision and these statements on the live database."""
        up = json.loads((self.folder / "moves.json").read_text())[0][0]
        version = "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)"
        for sql in (version, "INSERT INTO alembic_version VALUES ('0001')", *up.split(";"), *rows):
            self.run(sql)

    def run(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a statement on the live database, and return its rows."""
        engine = create_engine(self.live.connection_url(), isolation_level="AUTOCOMMIT", poolclass=NullPool)
        with engine.connect() as connection:
            result = connection.exec_driver_sql(sql)
            return [tuple(row) for row in result] if result.returns_rows else []

    def version(self) -> str:
        """Return the revision of the live database from its version table."""
        return ", ".join(sorted(row[0] for row in self.run("SELECT version_num FROM alembic_version")))

    def service(self) -> Service:
        """Return a service with this history."""
        tool = ("python", "migrate.py")
        commands = MigrationCommands(
            upgrade=(*tool, "up", "{to}"),
            downgrade=(*tool, "down", "{to}"),
            current=(*tool, "current"),
            sql=(*tool, "sql", "{from}", "{to}"),
        )
        return Service(
            name="shop",
            url="http://127.0.0.1:9",
            directory=self.folder,
            routes=("/health", "/products/*"),
            database=Database(url=EnvironmentReference(env=VARIABLE)),
            migrations=Migrations(commands=commands, bin=str(self.bin_folder), **self.limits),
        )

    def plan(self, start: str = "0001", to: str = "0002") -> Plan:
        """Return the plan of a change with a migration."""
        return plan_of(self.service(), Migrate(start=start, to=to))
