"""Open the database of a service. The scheme of the URL selects the class."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from slipway.config.service import Service
from slipway.core.errors import InvalidInput
from slipway.core.settings import resolve
from slipway.databases.database import Database
from slipway.databases.mariadb.database import MariaDB
from slipway.databases.postgresql.database import PostgreSQL
from slipway.databases.sqlite.database import SQLite

EXPECTED = "postgresql+psycopg://…, mysql+pymysql://… or sqlite:///…"
MYSQL = {"", "pymysql", "mysqldb", "aiomysql", "asyncmy", "mysqlconnector", "mariadbconnector"}
# The drivers that a service may use, by the scheme of the URL; "" is a URL without a driver.
DRIVERS = {
    "postgresql": {"", "psycopg", "psycopg_async", "psycopg2", "psycopg2cffi", "asyncpg", "pg8000"},
    "mysql": MYSQL,
    "mariadb": MYSQL,
    "sqlite": {"", "pysqlite", "aiosqlite"},
}


def open_database(url: str, directory: Path) -> Database:
    """Return the database at `url`, without connecting. A relative file path is resolved from `directory`.

    Raises InvalidInput for a URL that is malformed or names no database, and for an unknown scheme or driver.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # ValueError: the port is not a number
        raise InvalidInput("The database URL is malformed.", expected=EXPECTED) from None
    scheme, _, driver = parsed.drivername.partition("+")
    if scheme not in DRIVERS:
        raise InvalidInput(f"Slipway does not support {scheme} databases.", expected=EXPECTED)
    if driver not in DRIVERS[scheme]:
        supported = ", ".join(f"{scheme}+{name}" for name in sorted(DRIVERS[scheme]) if name)
        raise InvalidInput(
            f"The driver {driver} for {scheme} is unknown.", expected=f"{scheme}, or one of: {supported}."
        )
    if scheme == "sqlite":
        return SQLite(parsed, directory)
    if scheme in ("mysql", "mariadb"):
        return MariaDB(parsed)
    return PostgreSQL(url)


def live_database(service: Service, config_folder: Path) -> Database:
    """Return the live database of a service. Raises InvalidInput as `open_database`, and for a service without a database."""
    if service.database is None:
        raise InvalidInput(f"Service {service.name} has no database.", expected="[service.database] in slipway.toml.")
    return open_database(resolve(service.database.url), (config_folder / service.directory).resolve())


def postgresql_of(service: Service, feature: str) -> PostgreSQL:
    """Return the live database for `feature`, which needs PostgreSQL. Raises InvalidInput for any other database."""
    database = live_database(service, Path())
    if not isinstance(database, PostgreSQL):
        raise InvalidInput(
            f"{feature} needs PostgreSQL, but {service.name} uses another database system.",
            expected="A service whose database is PostgreSQL.",
        )
    return database


def clone_database(service: Service, live: Database) -> Database | None:
    """Return the clone from slipway.toml, or None. Raises InvalidInput for SQLite, and if the clone uses another system."""
    if service.database is None or service.database.clone is None:
        return None
    if isinstance(live, SQLite):
        raise InvalidInput(
            f"The database of {service.name} is SQLite, which does not support a clone.",
            expected="No `clone` in slipway.toml: Slipway copies the file each time.",
        )
    clone = open_database(resolve(service.database.clone), Path())
    if type(clone) is not type(live):
        raise InvalidInput(
            f"The clone of {service.name} uses another database system than the live database.",
            expected="`clone` in slipway.toml names a copy of the live database.",
        )
    return clone
