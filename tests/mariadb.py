"""A MariaDB server for tests, which does not run as root, on 127.0.0.1."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from sqlalchemy import URL, create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from slipway.deployments.ports import HOST
from slipway.deployments.postgres import not_as_root
from slipway.deployments.processes import Part

PASSWORD = "se#cret \\ 'and' \"quoted\""  # characters that an option file and a URL must escape


def server_part(folder: Path, port: int) -> Part:
    """Create a data folder below `folder`, and return the server on it. It is ready when it answers a statement."""
    data, program = folder / "data", shutil.which("mariadbd")
    result = subprocess.run(
        [
            *not_as_root(),
            *("mariadb-install-db", "--no-defaults", f"--datadir={data}", "--skip-test-db", "--skip-name-resolve"),
            "--auth-root-authentication-method=normal",
        ],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    # A socket's path has at most 107 characters, and a test's folder can be longer: so it is relative to the data folder.
    options = {"datadir": data, "port": port, "bind-address": HOST, "socket": "socket", "pid-file": folder / "pid"}
    options |= {"character-set-server": "utf8mb4", "collation-server": "utf8mb4_general_ci"}
    options |= {"innodb-flush-log-at-trx-commit": 0, "innodb-buffer-pool-size": "32M"}
    return Part(
        name="MariaDB",
        argv=[
            *not_as_root(),
            *(str(program), "--no-defaults", "--skip-name-resolve"),
            *(f"--{name}={value}" for name, value in options.items()),
        ],
        environment={"PATH": os.environ["PATH"], "TZ": "UTC"},
        log=folder / "log",
        ready=lambda: answers(root_url(port)),
    )


def root_url(port: int, password: str | None = None) -> URL:
    """Return the SQLAlchemy URL of the server for root."""
    return URL.create("mysql+pymysql", "root", password, HOST, port)


def answers(url: URL) -> bool:
    """Return whether the server answers a statement."""
    try:
        run(url, "SELECT 1")
    except SQLAlchemyError:
        return False
    return True


def run(url: URL, *statements: str) -> list[tuple[object, ...]]:
    """Run statements. Return the rows of the last one."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    rows: list[tuple[object, ...]] = []
    with engine.connect() as connection:
        for statement in statements:
            result = connection.exec_driver_sql(statement)
            rows = [tuple(row) for row in result] if result.returns_rows else []
    return rows
