"""Fixtures: a fake Prefect server, a real store, and the admin service that uses both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL

from slipway.accounts.accounts import Accounts
from slipway.accounts.grants import Grant
from slipway.admin import details, prefect_api, services, subscription
from slipway.deployments.postgres import create_database, url_on
from slipway.runs.store import Store
from tests.admin.api.full_reads import FullReads
from tests.admin.api.served import WITHIN_S, Served
from tests.played_prefect import FakePrefect

CONFIG = '[[service]]\nname = "shop"\nurl = "http://127.0.0.1:9"\nroutes = ["/"]\n'
TIME_LIMITS = (  # for responses of Prefect: on a busy machine, a healthy server exceeds them
    (prefect_api, "WITHIN_S"),
    (services, "LOADED_WITHIN_S"),
    (details, "STEPS_WITHIN_S"),
    (subscription, "OPEN_WITHIN_S"),
    (subscription, "BEAT_WITHIN_S"),
)


@pytest.fixture(scope="session")
def store_url(postgres: URL) -> str:
    """The URL of one store for all tests; each run has a unique id."""
    create_database(postgres, "admin_api")
    url = url_on(postgres, "admin_api")
    store = Store(url)
    store.create_tables()
    Accounts(store).add("ada", Grant(role="admin"), by="a test")
    store.close()
    return url


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """A connection to the store."""
    opened = Store(store_url)
    yield opened
    opened.close()


@pytest.fixture
def prefect() -> Iterator[FakePrefect]:
    """Yield a fake Prefect server with one job."""
    with FakePrefect() as playing:
        playing.job("look-around")
        yield playing


@pytest.fixture
def settings(store_url: str, prefect: FakePrefect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of an admin process."""
    (tmp_path / "slipway.toml").write_text(CONFIG, encoding="utf-8")
    monkeypatch.setenv("SLIPWAY_CONFIG", str(tmp_path / "slipway.toml"))
    monkeypatch.setenv("SLIPWAY_CHANGES", str(tmp_path))
    monkeypatch.setenv("SLIPWAY_DATABASE_URL", store_url)
    monkeypatch.setenv("PREFECT_API_URL", prefect.url)
    for module, name in TIME_LIMITS:
        monkeypatch.setattr(module, name, WITHIN_S)


@pytest.fixture
def full_reads(monkeypatch: pytest.MonkeyPatch) -> FullReads:
    """Controls when the admin processes read the full state of Prefect."""
    return FullReads(monkeypatch)


@pytest.fixture
def serve(settings: None, full_reads: FullReads) -> Iterator[Callable[[], Served]]:
    """Yield a function that starts an admin process; a test may start several."""
    running: list[Served] = []

    def start() -> Served:
        running.append(Served().__enter__())
        return running[-1]

    yield start
    for served in running:
        served.__exit__()


@pytest.fixture
def admin(serve: Callable[[], Served]) -> Served:
    """One admin process."""
    return serve()
