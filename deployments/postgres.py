"""Run PostgreSQL with the binaries of a Python package.

The package's own start function is not used: as root, it adds a user and changes the mode of every parent folder.
PostgreSQL refuses to run as root. In a user namespace it sees another uid, and the files still belong to us.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from functools import cache
from pathlib import Path

from sqlalchemy import URL, create_engine, text
from sqlalchemy.exc import OperationalError

from slipway.core.errors import SlipwayError
from slipway.databases.postgresql.database import client_tools
from slipway.deployments.ports import HOST
from slipway.deployments.processes import Part

USER = "slipway"


def server_part(folder: Path, port: int, password: str, *, log: Path, durable: bool = True) -> Part:
    """Return the PostgreSQL server on `folder`; create its cluster on first use. It is ready when it answers a query."""
    data = folder / "data"
    if not (data / "PG_VERSION").exists():
        _make_cluster(data, password)
    options = {"listen_addresses": HOST, "unix_socket_directories": "", "fsync": "on" if durable else "off"}
    return Part(
        name="PostgreSQL",
        argv=[
            *not_as_root(),
            str(client_tools() / "postgres"),
            *("-D", str(data), "-p", str(port)),
            *(argument for name, value in options.items() for argument in ("-c", f"{name}={value}")),
            *("-c", "max_connections=200"),
        ],
        environment=_environment(),
        log=log,
        ready=lambda: answers(server_url(port, password)),
        stop_signal=signal.SIGINT,  # PostgreSQL's fast shutdown
    )


def server_url(port: int, password: str) -> URL:
    """Return the SQLAlchemy URL of the server's maintenance database."""
    return URL.create("postgresql+psycopg", USER, password, HOST, port, "postgres")


def url_on(server: URL, database: str, driver: str = "postgresql+psycopg") -> str:
    """Return the URL of one database of the server, with password and driver."""
    return server.set(database=database, drivername=driver).render_as_string(hide_password=False)


def answers(url: URL) -> bool:
    """Return whether the server answers a query."""
    engine = create_engine(url, connect_args={"connect_timeout": 2})
    try:
        with engine.connect() as connection:
            return bool(connection.execute(text("SELECT true")).scalar_one())
    except OperationalError:
        return False
    finally:
        engine.dispose()


def database_names(url: URL) -> set[str]:
    """Return the names of the server's databases."""
    return set(_run(url, "SELECT datname FROM pg_database"))


def create_database(url: URL, name: str, *, template: str = "template1") -> None:
    """Create a database as a copy of `template`. No session may be connected to the template."""
    _run(url, f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')


def drop_database(url: URL, name: str) -> None:
    """Drop a database if it exists, and disconnect its sessions."""
    _run(url, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def rename_database(url: URL, name: str, to: str) -> None:
    """Rename a database. No session may be connected to it."""
    _run(url, f'ALTER DATABASE "{name}" RENAME TO "{to}"')


def grant_read(server: URL, database: str, role: str, password: str) -> None:
    """Create `role` if it is missing, and grant it SELECT, nothing else, on all current and future tables of the database."""
    if role not in _run(server, "SELECT rolname FROM pg_roles"):
        _run(server, f'CREATE ROLE "{role}"')
    _run(server, f"ALTER ROLE \"{role}\" LOGIN PASSWORD '{password}'")
    for statement in (
        f'GRANT SELECT ON ALL TABLES IN SCHEMA public TO "{role}"',
        f'ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO "{role}"',
    ):
        _run(server.set(database=database), statement)


def _run(url: URL, statement: str) -> list[str]:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            result = connection.execute(text(statement))
            return [str(row[0]) for row in result] if result.returns_rows else []
    finally:
        engine.dispose()


def _make_cluster(data: Path, password: str) -> None:
    data.parent.mkdir(parents=True, exist_ok=True)
    draft = data.with_name("data.draft")  # renamed when complete: a killed initdb leaves no folder that looks usable
    shutil.rmtree(draft, ignore_errors=True)
    password_file = data.with_name("password")
    password_file.touch(mode=0o600)
    password_file.write_text(password, encoding="utf-8")
    argv = [*not_as_root(), str(client_tools() / "initdb"), "-D", str(draft), "-U", USER, "-A", "scram-sha-256"]
    argv += ["--pwfile", str(password_file), "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
    result = subprocess.run(argv, env=_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True)
    password_file.unlink()
    if result.returncode != 0:
        raise SlipwayError(
            f"initdb exited with {result.returncode}: {result.stderr.strip()[-500:]}",
            expected="initdb creates the cluster. Check the free disk space and the permissions of the folder.",
            retry_is_safe=True,
        )
    draft.rename(data)


def _environment() -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ} | {"LC_ALL": "C.UTF-8"}


@cache
def not_as_root() -> tuple[str, ...]:
    """Return the command prefix for PostgreSQL programs: for root a user namespace with uid 1000, else nothing."""
    if os.geteuid() != 0:
        return ()
    wrapper = ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--")
    if shutil.which("unshare") and subprocess.run([*wrapper, "true"], capture_output=True).returncode == 0:
        return wrapper
    raise SlipwayError(
        "PostgreSQL refuses to run as root, and this machine does not allow user namespaces.",
        expected="Slipway runs as a user other than root, or SLIPWAY_POSTGRES_URL names an existing PostgreSQL server.",
        retry_is_safe=True,
    )
