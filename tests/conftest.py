"""Real parts that many tests share: PostgreSQL, an empty database, a web server in a thread."""

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


@pytest.fixture(scope="session", autouse=True)
def few_certificates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Trust one public certificate instead of all: loading them takes 25 ms per HTTP client or MariaDB connection.

    No test verifies a public certificate. The variable is inherited by all processes that tests start; a client of this
    process that ignores the environment asks certifi.
    """
    one, end, _ = Path(certifi.where()).read_text(encoding="utf-8").partition("-----END CERTIFICATE-----\n")
    file = tmp_path_factory.mktemp("certificates") / "one.pem"
    file.write_text(one + end, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(file))
        patch.setattr(certifi, "where", lambda: str(file))
        yield


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[URL]:
    """A PostgreSQL server of the session's own: the URL of its maintenance database."""
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
    """The URL, with its password, of an empty database of the test's own."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    create_database(postgres, name)
    yield url_on(postgres, name)
    drop_database(postgres, name)


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    """An empty store."""
    made = Store(database)
    made.create_tables()
    yield made
    made.close()


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory: pytest.TempPathFactory, require: Callable[[str], None]) -> Iterator[URL]:
    """A MariaDB server of the session's own: the URL of a user who may do what a service's role needs, and no more."""
    require("mariadbd")
    folder, [port] = tmp_path_factory.mktemp("mariadb"), free_ports([0])
    server = mariadb_server.server_part(folder, port)
    server.start()
    try:
        server.wait_until_ready(Event())
        password = mariadb_server.PASSWORD
        user = URL.create("mysql+pymysql", "shop", password, "127.0.0.1", port)
        written = password.replace("\\", "\\\\").replace("'", "''")
        mariadb_server.run(
            mariadb_server.root_url(port),
            f"CREATE USER shop@'%%' IDENTIFIED BY '{written}'",
            "GRANT ALL ON `test\\_%%`.* TO shop@'%%'",
            "GRANT ALL ON `slipway\\_copy\\_%%`.* TO shop@'%%'",
        )
        yield user
    finally:
        server.stop()


@pytest.fixture
def mariadb_database(mariadb: URL) -> Iterator[URL]:
    """The URL, with its password, of an empty MariaDB database of the test's own."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    mariadb_server.run(mariadb, f"CREATE DATABASE {name}")
    yield mariadb.set(database=name)
    mariadb_server.run(mariadb, f"DROP DATABASE {name}")


@pytest.fixture(scope="session")
def forked_alembic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with an `alembic` that runs the shop's own Alembic in a fork."""
    modules = ("alembic.config", "alembic.context", "sqlalchemy.dialects.postgresql.psycopg", "psycopg")
    with fork_server(tmp_path_factory.mktemp("forked"), BIN / "python", modules) as made:
        add_command(made, "alembic", BIN / "python", BIN / "alembic")
        yield made


@pytest.fixture(scope="session")
def forked_python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a `python` that runs scripts in a fork of this interpreter, for plain commands with SQLAlchemy."""
    python = Path(sys.executable)
    modules = ("json", "sqlalchemy.dialects.mysql.pymysql", "sqlalchemy.dialects.sqlite", "pymysql")
    with fork_server(tmp_path_factory.mktemp("forked"), python, modules) as made:
        add_command(made, "python", python)
        yield made


@pytest.fixture(scope="session")
def forked_django(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a `python` that runs `manage.py` in a fork of this interpreter."""
    python = Path(sys.executable)
    modules = (
        "django.core.management.commands.migrate",
        "django.core.management.commands.showmigrations",
        "django.core.management.commands.sqlmigrate",
        "django.contrib.postgres.operations",
        "django.db.backends.postgresql.base",
    )
    with fork_server(tmp_path_factory.mktemp("forked"), python, modules) as made:
        add_command(made, "python", python)
        yield made


@pytest.fixture
def site() -> Iterator[Site]:
    """A web server in a thread; the test sets its pages."""
    with Site() as running:
        yield running


@pytest.fixture(scope="session")
def require() -> Callable[[str], None]:
    """Skip where a command is not installed; with SLIPWAY_NO_SKIPS set, fail."""

    def look(command: str) -> None:
        if shutil.which(command) is None:
            missing = f"{command} is not installed"
            if os.environ.get("SLIPWAY_NO_SKIPS"):
                pytest.fail(missing)
            pytest.skip(missing)

    return look
