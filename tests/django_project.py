"""A small Django project with migrations, for the Django of the development environment, and a plan for it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg

from slipway.config.change import Migrate
from slipway.config.plan import Plan
from slipway.config.service import Database, Migrations, Service
from slipway.core.settings import EnvironmentReference
from slipway.databases.postgresql.database import PostgreSQL
from slipway.migrations.tool import MigrationTool
from tests.histories import VARIABLE, plan_of

BIN = Path(sys.executable).parent
MANAGE = """
import os, sys
from django.core.management import execute_from_command_line
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
execute_from_command_line(sys.argv)
"""
SETTINGS = """
import os
from urllib.parse import urlsplit
url = urlsplit(os.environ["DATABASE_URL"])
DATABASES = {"default": {
    "ENGINE": "django.db.backends.postgresql", "NAME": url.path[1:], "USER": url.username, "PASSWORD": url.password,
    "HOST": url.hostname, "PORT": url.port,
}}
INSTALLED_APPS = ["customers", "orders"]
SECRET_KEY, USE_TZ, DEFAULT_AUTO_FIELD = "for tests", True, "django.db.models.BigAutoField"
"""
MIGRATION = """
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

def change_notes(apps, editor):
    apps.get_model("orders", "Order").objects.update(note="changed")

class Migration(migrations.Migration):
    atomic = {atomic}
    dependencies = {needs}
    operations = [{operations}]
"""
INITIAL = """migrations.CreateModel("Order", [
    ("id", models.BigAutoField(primary_key=True)), ("total", models.IntegerField()), ("note", models.TextField(null=True)),
])"""
CUSTOMER = 'migrations.CreateModel("Customer", [("id", models.BigAutoField(primary_key=True))])'
START = "orders.0001_initial"


class DjangoProject:
    """The apps `customers` and `orders`, each with a first migration, and the live database that they migrate."""

    def __init__(self, folder: Path, database_url: str, bin_folder: Path = BIN) -> None:
        self.folder = folder
        self.bin_folder = bin_folder
        self.live = PostgreSQL(database_url)
        self.limits: dict[str, Any] = {}
        for name, text in {"manage.py": MANAGE, "settings.py": SETTINGS}.items():
            (folder / name).write_text(text, encoding="utf-8")
        for app, operations in {"customers": CUSTOMER, "orders": INITIAL}.items():
            (folder / app / "migrations").mkdir(parents=True)
            (folder / app / "__init__.py").touch()
            (folder / app / "migrations" / "__init__.py").touch()
            self.add(f"{app}.0001_initial", (), operations)

    def add(self, revision: str, needs: tuple[str, ...], operations: str, *, atomic: bool = True) -> str:
        """Write the migration `app.name` with its dependencies and Python operations, and return the revision."""
        app, name = revision.split(".")
        keys = [tuple(need.split(".")) for need in needs]
        text = MIGRATION.format(atomic=atomic, needs=keys, operations=operations)
        (self.folder / app / "migrations" / f"{name}.py").write_text(text, encoding="utf-8")
        return revision

    def set_revision(self, revision: str) -> None:
        """Migrate the live database to a revision with Django."""
        assert self.tool().upgrade(revision).exit_code == 0

    def run(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a statement on the live database, and return its rows."""
        with psycopg.connect(self.live.connection_url().replace("+psycopg", ""), autocommit=True) as connection:
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def service(self, **options: Any) -> Service:
        """Return a service with this project; `options` override those of its migrations."""
        return Service(
            name="shop",
            url="http://127.0.0.1:9",
            directory=self.folder,
            routes=("/health", "/products/*"),
            database=Database(url=EnvironmentReference(env=VARIABLE)),
            migrations=Migrations(**({"preset": "django", "bin": str(self.bin_folder), **self.limits} | options)),
        )

    def tool(self, **options: Any) -> MigrationTool:
        """Return the service's migration tool for the live database."""
        return MigrationTool(self.service(**options), self.live.connection_url(), self.folder)

    def plan(self, start: str, to: str) -> Plan:
        """Return the plan of a change with a migration."""
        return plan_of(self.service(), Migrate(start=start, to=to))

    def applied(self) -> Mapping[str, int]:
        """Return the number of applied migrations of each app, from Django's own table."""
        return dict(self.run("SELECT app, count(*) FROM django_migrations GROUP BY app"))
