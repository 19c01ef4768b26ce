"""Real parts that many tests share: PostgreSQL, an empty database, a web server in a thread."""

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from threading import Event

import pytest
from sqlalchemy import URL

from deployments.ports import free_ports
from deployments.postgres import create_database, drop_database, server_part, server_url, url_on
from tests.sites import Site


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
