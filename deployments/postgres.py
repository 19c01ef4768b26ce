"""PostgreSQL from a Python package: only its binaries, with a small wrapper of our own.

The package's own start-up adds a user and changes the mode of every parent folder when it runs as root, so it is
not used. PostgreSQL refuses to run as root; in a user namespace it sees another uid, while the files stay ours.
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
    """The PostgreSQL server over `folder`, made on first use; it is ready when it accepts a query."""
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
            *(word for name, value in options.items() for word in ("-c", f"{name}={value}")),
            *("-c", "max_connections=200"),
        ],
        environment=_environment(),
        log=log,
        ready=lambda: answers(server_url(port, password)),
        stop_signal=signal.SIGINT,  # PostgreSQL's fast shutdown
    )


def server_url(port: int, password: str) -> URL:
    """The URL of the server's maintenance database, for SQLAlchemy."""
    return URL.create("postgresql+psycopg", USER, password, HOST, port, "postgres")


def url_on(server: URL, database: str, driver: str = "postgresql+psycopg") -> str:
    """The URL of a database of the server, with its password; the driver is always named."""
    return server.set(database=database, drivername=driver).render_as_string(hide_password=False)


def answers(url: URL) -> bool:
    """Whether the server accepts a query."""
    engine = create_engine(url, connect_args={"connect_timeout": 2})
    try:
        with engine.connect() as connection:
            return bool(connection.execute(text("SELECT true")).scalar_one())
    except OperationalError:
        return False
    finally:
        engine.dispose()


def database_names(url: URL) -> set[str]:
    """The databases of the server."""
    return set(_run(url, "SELECT datname FROM pg_database"))


def create_database(url: URL, name: str, *, template: str = "template1") -> None:
    """Make a database, as a copy of `template`, which nobody may be connected to."""
    _run(url, f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')


def drop_database(url: URL, name: str) -> None:
    """Drop a database if it is there, whoever is connected."""
    _run(url, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def rename_database(url: URL, name: str, to: str) -> None:
    """Give a database that nobody is connected to another name."""
    _run(url, f'ALTER DATABASE "{name}" RENAME TO "{to}"')


def let_read(server: URL, database: str, role: str, password: str) -> None:
    """See that `role` exists, and may read every table of a database that its owner has or will make there; no more."""
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
            found = connection.execute(text(statement))
            return [str(row[0]) for row in found] if found.returns_rows else []
    finally:
        engine.dispose()


def _make_cluster(data: Path, password: str) -> None:
    data.parent.mkdir(parents=True, exist_ok=True)
    draft = data.with_name("data.draft")  # renamed when whole: a killed initdb leaves nothing that looks usable
    shutil.rmtree(draft, ignore_errors=True)
    secret = data.with_name("password")
    secret.touch(mode=0o600)
    secret.write_text(password, encoding="utf-8")
    argv = [*not_as_root(), str(client_tools() / "initdb"), "-D", str(draft), "-U", USER, "-A", "scram-sha-256"]
    argv += ["--pwfile", str(secret), "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
    made = subprocess.run(argv, env=_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True)
    secret.unlink()
    if made.returncode != 0:
        raise SlipwayError(
            f"initdb ended with {made.returncode}: {made.stderr.strip()[-500:]}",
            expected="A database cluster; is there space, and may this user write here?",
            retry_is_safe=True,
        )
    draft.rename(data)


def _environment() -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ} | {"LC_ALL": "C.UTF-8"}


@cache
def not_as_root() -> tuple[str, ...]:
    """What stands before a PostgreSQL command when we are root: a user namespace in which we are uid 1000."""
    if os.geteuid() != 0:
        return ()
    wrapper = ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--")
    if shutil.which("unshare") and subprocess.run([*wrapper, "true"], capture_output=True).returncode == 0:
        return wrapper
    raise SlipwayError(
        "PostgreSQL refuses to run as root, and this machine allows no user namespace.",
        expected="Another user than root, or SLIPWAY_POSTGRES_URL set to a PostgreSQL of your own.",
        retry_is_safe=True,
    )
