"""A MariaDB server of the tests' own, as another user than root, on 127.0.0.1."""

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

PASSWORD = "se#cret \\ 'and' \"quoted\""  # signs that an option file and a URL have to escape


def server_part(folder: Path, port: int) -> Part:
    """The server over `folder`, made here; it is ready when it answers."""
    data, program = folder / "data", shutil.which("mariadbd")
    made = subprocess.run(
        [
            *not_as_root(),
            *("mariadb-install-db", "--no-defaults", f"--datadir={data}", "--skip-test-db", "--skip-name-resolve"),
            "--auth-root-authentication-method=normal",
        ],
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    # A socket's path may have 107 signs, which a test's folder can be longer than: so it is relative, seen from the data.
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
    """The URL of the server, for SQLAlchemy."""
    return URL.create("mysql+pymysql", "root", password, HOST, port)


def answers(url: URL) -> bool:
    """Whether the server runs a statement."""
    try:
        run(url, "SELECT 1")
    except SQLAlchemyError:
        return False
    return True


def run(url: URL, *statements: str) -> list[tuple[object, ...]]:
    """Run statements; the rows of the last."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    rows: list[tuple[object, ...]] = []
    with engine.connect() as connection:
        for statement in statements:
            found = connection.exec_driver_sql(statement)
            rows = [tuple(row) for row in found] if found.returns_rows else []
    return rows
