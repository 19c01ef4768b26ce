"""The database of a service, opened by the scheme of its URL."""

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
# The drivers of a service's own commands, by the scheme of the URL; "" is the scheme alone.
DRIVERS = {
    "postgresql": {"", "psycopg", "psycopg_async", "psycopg2", "psycopg2cffi", "asyncpg", "pg8000"},
    "mysql": MYSQL,
    "mariadb": MYSQL,
    "sqlite": {"", "pysqlite", "aiosqlite"},
}


def open_database(url: str, directory: Path) -> Database:
    """The database at `url`; a relative file is seen from `directory`. Connects to nothing.

    Raises InvalidInput for a URL that cannot be read or names no database, and for a scheme or driver that is unknown.
    """
    try:
        read = make_url(url)
    except (ArgumentError, ValueError):  # ValueError: a port that is no number
        raise InvalidInput("The database URL cannot be read.", expected=EXPECTED) from None
    scheme, _, driver = read.drivername.partition("+")
    if scheme not in DRIVERS:
        raise InvalidInput(f"{scheme} is no database that Slipway can rehearse on.", expected=EXPECTED)
    if driver not in DRIVERS[scheme]:
        known = ", ".join(f"{scheme}+{name}" for name in sorted(DRIVERS[scheme]) if name)
        raise InvalidInput(f"The driver {driver} of {scheme} is unknown.", expected=f"{scheme}, or one of: {known}.")
    if scheme == "sqlite":
        return SQLite(read, directory)
    if scheme in ("mysql", "mariadb"):
        return MariaDB(read)
    return PostgreSQL(url)


def live_database(service: Service, config_folder: Path) -> Database:
    """The live database of a service. Raises InvalidInput as `open_database`, and for a service without one."""
    if service.database is None:
        raise InvalidInput(f"Service {service.name} has no database.", expected="[service.database] in slipway.toml.")
    return open_database(resolve(service.database.url), (config_folder / service.directory).resolve())


def postgresql_of(service: Service, what: str) -> PostgreSQL:
    """The live database for `what`, which only PostgreSQL can. Raises InvalidInput for any other."""
    found = live_database(service, Path())
    if not isinstance(found, PostgreSQL):
        raise InvalidInput(
            f"{what} needs PostgreSQL, and the database of {service.name} is another.",
            expected="A service whose database is PostgreSQL.",
        )
    return found


def clone_database(service: Service, live: Database) -> Database | None:
    """The clone that the owner keeps, if there is one. Raises InvalidInput where it cannot stand for the live database."""
    if service.database is None or service.database.clone is None:
        return None
    if isinstance(live, SQLite):
        raise InvalidInput(
            f"The database of {service.name} is SQLite, which has no clone.",
            expected="No `clone` in slipway.toml: a copy of a file is made each time.",
        )
    clone = open_database(resolve(service.database.clone), Path())
    if type(clone) is not type(live):
        raise InvalidInput(
            f"The clone of {service.name} is another kind of database than the live one.",
            expected="`clone` in slipway.toml to name a copy of the live database.",
        )
    return clone
