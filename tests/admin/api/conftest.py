"""A played Prefect, a real store, and the admin service between them."""

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
from tests.played_prefect import PlayedPrefect

CONFIG = '[[service]]\nname = "shop"\nurl = "http://127.0.0.1:9"\nroutes = ["/"]\n'
TIME_LIMITS = (  # of an answer from Prefect: on a busy machine, a healthy server exceeds them
    (prefect_api, "WITHIN_S"),
    (services, "LOADED_WITHIN_S"),
    (details, "STEPS_WITHIN_S"),
    (subscription, "OPEN_WITHIN_S"),
    (subscription, "BEAT_WITHIN_S"),
)


@pytest.fixture(scope="session")
def store_url(postgres: URL) -> str:
    """The URL of a store, one for all: runs have ids of their own."""
    create_database(postgres, "admin_api")
    url = url_on(postgres, "admin_api")
    made = Store(url)
    made.create_tables()
    Accounts(made).add("ada", Grant(role="admin"), by="a test")
    made.close()
    return url


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """The store itself."""
    made = Store(store_url)
    yield made
    made.close()


@pytest.fixture
def prefect() -> Iterator[PlayedPrefect]:
    """A played Prefect with one job."""
    with PlayedPrefect() as playing:
        playing.job("look-around")
        yield playing


@pytest.fixture
def settings(store_url: str, prefect: PlayedPrefect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    """Control over when the admin processes read the whole state of Prefect."""
    return FullReads(monkeypatch)


@pytest.fixture
def serve(settings: None, full_reads: FullReads) -> Iterator[Callable[[], Served]]:
    """Start an admin process; as many as a test likes."""
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
