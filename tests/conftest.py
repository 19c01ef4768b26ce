"""Real parts that many tests share: PostgreSQL, MariaDB, empty databases, fork servers, a web server in a thread."""

import gc
import os
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import certifi
import pytest
from sqlalchemy import URL

from slipway.deployments.ports import free_ports
from slipway.deployments.postgres import create_database, drop_database, server_part, server_url, url_on
from slipway.runs.store import Store
from tests import mariadb as mariadb_server
from tests.forking import add_command, fork_server
from tests.histories import BIN
from tests.leftovers import pytest_configure, pytest_keyboard_interrupt, pytest_unconfigure  # noqa: F401 - hooks
from tests.scheduling import (  # noqa: F401 - hooks
    pytest_collection_modifyitems,
    pytest_runtest_setup,
    pytest_xdist_make_scheduler,
)
from tests.sites import Site


def pytest_collection_finish() -> None:
    """Exclude the objects that live as long as the process from garbage collection. It saves a tenth of the processor time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


@pytest.fixture(scope="session", autouse=True)
def few_certificates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Trust one public certificate instead of all: loading all takes 25 ms per HTTP client or MariaDB connection.

    No test verifies a public certificate. All processes that tests start inherit the variable. Clients in this process
    that ignore the environment use certifi.
    """
    certificate, end, _ = Path(certifi.where()).read_text(encoding="utf-8").partition("-----END CERTIFICATE-----\n")
    file = tmp_path_factory.mktemp("certificates") / "one.pem"
    file.write_text(certificate + end, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(file))
        patch.setattr(certifi, "where", lambda: str(file))
        yield


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[URL]:
    """Start a PostgreSQL server for the session. Yield the URL of its maintenance database."""
    folder, [port] = tmp_path_factory.mktemp("postgres"), free_ports([0])
    server = server_part(folder, port, "server-secret", log=folder / "log", durable=False)
    server.start()
    try:
        server.wait_until_ready(Event())
        yield server_url(port, "server-secret")
    finally:
        server.stop()


@pytest.fixture
def database(postgres: URL) -> Iterator[str]:
    """Create an empty database for one test. Yield its URL with the password."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    create_database(postgres, name)
    yield url_on(postgres, name)
    drop_database(postgres, name)


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    """Yield an empty store."""
    empty_store = Store(database)
    empty_store.create_tables()
    yield empty_store
    empty_store.close()


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory: pytest.TempPathFactory, require: Callable[[str], None]) -> Iterator[URL]:
    """Start a MariaDB server for the session. Yield the URL of a user with only the privileges that a service's role needs."""
    require("mariadbd")
    folder, [port] = tmp_path_factory.mktemp("mariadb"), free_ports([0])
    server = mariadb_server.server_part(folder, port)
    server.start()
    try:
        server.wait_until_ready(Event())
        password = mariadb_server.PASSWORD
        user = URL.create("mysql+pymysql", "shop", password, "127.0.0.1", port)
        escaped = password.replace("\\", "\\\\").replace("'", "''")
        mariadb_server.run(
            mariadb_server.root_url(port),
            f"CREATE USER shop@'%%' IDENTIFIED BY '{escaped}'",
            "GRANT ALL ON `test\\_%%`.* TO shop@'%%'",
            "GRANT ALL ON `slipway\\_copy\\_%%`.* TO shop@'%%'",
        )
        yield user
    finally:
        server.stop()


@pytest.fixture
def mariadb_database(mariadb: URL) -> Iterator[URL]:
    """Create an empty MariaDB database for one test. Yield its URL with the password."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    mariadb_server.run(mariadb, f"CREATE DATABASE {name}")
    yield mariadb.set(database=name)
    mariadb_server.run(mariadb, f"DROP DATABASE {name}")


@pytest.fixture(scope="session")
def forked_alembic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield a folder with an `alembic` command that runs the shop's Alembic in a fork."""
    modules = ("alembic.config", "alembic.context", "sqlalchemy.dialects.postgresql.psycopg", "psycopg")
    with fork_server(tmp_path_factory.mktemp("forked"), BIN / "python", modules) as folder:
        add_command(folder, "alembic", BIN / "python", BIN / "alembic")
        yield folder


@pytest.fixture(scope="session")
def forked_python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield a folder with a `python` command that runs scripts in a fork of this interpreter, with SQLAlchemy imported."""
    python = Path(sys.executable)
    modules = ("json", "sqlalchemy.dialects.mysql.pymysql", "sqlalchemy.dialects.sqlite", "pymysql")
    with fork_server(tmp_path_factory.mktemp("forked"), python, modules) as folder:
        add_command(folder, "python", python)
        yield folder


@pytest.fixture(scope="session")
def forked_django(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield a folder with a `python` command that runs `manage.py` in a fork of this interpreter."""
    python = Path(sys.executable)
    modules = (
        "django.core.management.commands.migrate",
        "django.core.management.commands.showmigrations",
        "django.core.management.commands.sqlmigrate",
        "django.contrib.postgres.operations",
        "django.db.backends.postgresql.base",
    )
    with fork_server(tmp_path_factory.mktemp("forked"), python, modules) as folder:
        add_command(folder, "python", python)
        yield folder


@pytest.fixture
def site() -> Iterator[Site]:
    """Yield a web server in a thread. The test sets its pages."""
    with Site() as running:
        yield running


@pytest.fixture(scope="session")
def require() -> Callable[[str], None]:
    """Return a function that skips the test if a command is not installed. With SLIPWAY_NO_SKIPS set, it fails the test."""

    def check(command: str) -> None:
        if shutil.which(command) is None:
            message = f"{command} is not installed"
            if os.environ.get("SLIPWAY_NO_SKIPS"):
                pytest.fail(message)
            pytest.skip(message)

    return check
