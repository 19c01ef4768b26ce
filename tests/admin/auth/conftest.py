"""The app with its guard and a real store, a clock that only tests advance, and accounts of every role."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI
from pydantic_core import to_json
from sqlalchemy import URL

from slipway.accounts import passwords
from slipway.accounts.grants import Grant, utc_now
from slipway.admin.app import create_app
from slipway.admin.auth import lookup as access_module
from slipway.admin.auth.lookup import Access
from slipway.admin.limits import Rate
from slipway.admin.listing import Page
from slipway.admin.problems import NotFound
from slipway.admin.read_model import RunFilter
from slipway.core.settings import Settings
from slipway.deployments.postgres import create_database, drop_database, url_on
from slipway.runs.store import Outcome, Store
from tests.admin.clock import Clock as StillTime
from tests.admin.in_process import InProcess

RUN, OTHERS_RUN = UUID(int=1), UUID(int=2)  # a run of shop, a run of bakery
PASSWORD = "correct horse battery"
SERVICES = "".join(
    f'[[service]]\nname = "{name}"\nurl = "http://127.0.0.1:9"\nroutes = ["/"]\n' for name in ("shop", "bakery")
)
CHANGE = (Path(__file__).parents[3] / "changes" / "refresh-catalogue" / "change.toml").read_text(encoding="utf-8")


class AdminServices:
    """Two runs of two services, as if read from Prefect."""

    age_s = 0.0

    def __init__(self, folder: Path, store: Store) -> None:
        self.settings = Settings(config=folder / "slipway.toml", changes=folder / "changes")
        self.store = store
        self.settings.config.write_text(SERVICES)
        for change, service in (("faster", "shop"), ("bread", "bakery")):
            (self.settings.changes / change).mkdir(parents=True)
            (self.settings.changes / change / "change.toml").write_text(CHANGE.replace('"shop"', f'"{service}"'))
        self.services = {RUN: "shop", OTHERS_RUN: "bakery"}
        self.asked_by: dict[UUID, str] = {}

    async def run(self, run_id: UUID) -> dict[str, Any]:
        if run_id not in self.services:
            raise NotFound(f"There is no run {run_id}.", expected="The id of a run.")
        return {"id": str(run_id), "tags": [f"service:{self.services[run_id]}"], "parameters": {}}

    async def detail(self, run_id: UUID) -> dict[str, Any]:
        return {**await self.run(run_id), "service": self.services[run_id], "asked_by": self.asked_by.get(run_id)}

    async def page(self, run_filter: RunFilter, **_: Any) -> Page:
        """Return the runs that the caller may see."""
        assert run_filter.readable is not None
        runs = [
            {"id": str(run), "service": service}
            for run, service in self.services.items()
            if run_filter.readable(service)
        ]
        return Page(runs, [to_json(run) for run in runs], None)

    @property
    def as_of(self) -> datetime:
        return utc_now()

    async def outcomes_of(self, run_id: UUID) -> list[Outcome]:
        return self.store.outcomes_of(str(run_id))


@dataclass
class Clock:
    """A clock that only tests advance, so that lockouts, sessions and tokens do not expire on a slow machine."""

    now: datetime = field(default_factory=utc_now)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **duration: float) -> None:
        """Advance the clock."""
        self.now += timedelta(**duration)


@dataclass
class World:
    """The app, its accounts and store, and browsers."""

    app: FastAPI
    access: Access
    clock: Clock
    store: Store
    url: str
    base: str = "http://127.0.0.1"
    browsers: list[httpx.Client] = field(default_factory=list)

    def browser(self, address: str = "192.0.2.1", **headers: str) -> httpx.Client:
        """Return a browser at an address. It sends the Origin header of our pages."""
        headers = {"Origin": self.base, **headers}
        client = httpx.Client(
            transport=InProcess(self.app, address, self.access.wait_written), base_url=self.base, headers=headers
        )
        self.browsers.append(client)
        return client

    def person(self, name: str, role: str = "viewer", services: tuple[str, ...] | None = None) -> str:
        """Create an account with the password of these tests."""
        self.access.accounts.add(name, Grant(role=role, services=services), by="a test")  # type: ignore[arg-type]
        self.access.accounts.set_password(name, hash_of_password())
        return name

    def signed_in(self, name: str, role: str = "viewer", services: tuple[str, ...] | None = None) -> httpx.Client:
        """Create an account and return its signed-in browser."""
        self.person(name, role, services)
        browser = self.browser()
        response = browser.post("/pages/sign-in", data={"name": name, "password": PASSWORD})
        assert response.status_code == 303, response.text
        return browser

    def token(
        self, name: str, role: str = "viewer", services: tuple[str, ...] | None = None, account: str | None = None
    ) -> str:
        """Create a token that lasts a day, and return its key."""
        grant = Grant(role=role, services=services)  # type: ignore[arg-type]
        return self.access.tokens.make(name, grant, timedelta(days=1), account=account)[0]

    def machine(self, key: str) -> httpx.Client:
        """Return a program that sends a token and no browser headers."""
        client = self.browser(Authorization=f"Bearer {key}")
        del client.headers["Origin"]
        return client

    def log(self) -> list[tuple[str, str, str, str]]:
        """Return the log as (who, what, on, outcome), oldest entry first."""
        entries = reversed(self.access.log.newest(100))
        return [(entry.who, entry.what, entry.on, entry.outcome) for entry in entries]


_hash: list[str] = []


def hash_of_password() -> str:
    """Return the hash of the tests' password. It is computed once, because hashing is slow on purpose."""
    if not _hash:
        _hash.append(passwords.hash_password(PASSWORD))
    return _hash[0]


def csrf(browser: httpx.Client) -> str:
    """Return the CSRF token in the forms of a browser's session."""
    page = browser.get("/pages/sign-in-nowhere").text
    return page.partition('name="csrf" value="')[2].partition('"')[0]


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash with less work, because the tests compute hundreds of hashes."""
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(passwords, "_hasher", cheap)
    passwords._dummy_hash.cache_clear()
    _hash.clear()


@pytest.fixture(scope="session")
def template(postgres: URL) -> Iterator[str]:
    """Return the name of a database with the tables, which each test copies."""
    name = f"template_{uuid.uuid4().hex[:12]}"
    create_database(postgres, name)
    store = Store(url_on(postgres, name))
    store.create_tables()
    store.close()
    yield name
    drop_database(postgres, name)


@pytest.fixture
def database(postgres: URL, template: str) -> Iterator[str]:
    """Return the URL of the test's own empty store."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    create_database(postgres, name, template=template)
    yield url_on(postgres, name)
    drop_database(postgres, name)


@pytest.fixture(scope="session")
def app() -> FastAPI:
    """Return the app. Each test replaces its store, access and services."""
    return create_app()


@pytest.fixture
def world(app: FastAPI, tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Return the app with an empty store."""
    store, clock = Store(database), Clock()
    monkeypatch.setattr(access_module, "time", StillTime())  # a cached caller stays valid until `clear_cache`
    app.state.container = AdminServices(tmp_path, store)
    app.state.access = Access(store, Settings(), clock)
    app.state.rate = Rate(Settings().triggers_per_minute)
    new_world = World(app, app.state.access, clock, store, database)
    yield new_world
    for browser in new_world.browsers:
        browser.close()
    store.close()
