"""The app with its guard over a real store, clocks that only a test moves, and people of every role."""

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

RUN, OTHERS_RUN = UUID(int=1), UUID(int=2)  # of shop, and of bakery
PASSWORD = "correct horse battery"
SERVICES = "".join(
    f'[[service]]\nname = "{name}"\nurl = "http://127.0.0.1:9"\nroutes = ["/"]\n' for name in ("shop", "bakery")
)
CHANGE = (Path(__file__).parents[3] / "changes" / "refresh-catalogue" / "change.toml").read_text(encoding="utf-8")


class AdminServices:
    """Two runs of two services, as Prefect would tell them."""

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

    async def page(self, wanted: RunFilter, **_: Any) -> Page:
        """The runs that who asks may see."""
        assert wanted.readable is not None
        shown = [{"id": str(run), "service": found} for run, found in self.services.items() if wanted.readable(found)]
        return Page(shown, [to_json(run) for run in shown], None)

    @property
    def as_of(self) -> datetime:
        return utc_now()

    async def left_by(self, run_id: UUID) -> list[Outcome]:
        return self.store.outcomes_of(str(run_id))


@dataclass
class Clock:
    """The time, which stands still until a test moves it: locks, sessions and tokens last however slow the machine is."""

    now: datetime = field(default_factory=utc_now)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **by: float) -> None:
        """Move it on."""
        self.now += timedelta(**by)


@dataclass
class World:
    """The app, what it knows of people, and browsers."""

    app: FastAPI
    access: Access
    clock: Clock
    store: Store
    url: str
    base: str = "http://127.0.0.1"
    browsers: list[httpx.Client] = field(default_factory=list)

    def browser(self, address: str = "192.0.2.1", **headers: str) -> httpx.Client:
        """Somebody who looks at our pages from an address, and says so as browsers do."""
        headers = {"Origin": self.base, **headers}
        made = httpx.Client(
            transport=InProcess(self.app, address, self.access.written), base_url=self.base, headers=headers
        )
        self.browsers.append(made)
        return made

    def person(self, name: str, role: str = "viewer", services: tuple[str, ...] | None = None) -> str:
        """A new account with the password of these tests."""
        self.access.accounts.add(name, Grant(role=role, services=services), by="a test")  # type: ignore[arg-type]
        self.access.accounts.set_password(name, hashed_once())
        return name

    def signed_in(self, name: str, role: str = "viewer", services: tuple[str, ...] | None = None) -> httpx.Client:
        """The browser of a new person who has signed in."""
        self.person(name, role, services)
        browser = self.browser()
        answer = browser.post("/pages/sign-in", data={"name": name, "password": PASSWORD})
        assert answer.status_code == 303, answer.text
        return browser

    def token(
        self, name: str, role: str = "viewer", services: tuple[str, ...] | None = None, account: str | None = None
    ) -> str:
        """The key of a new token, which lasts a day."""
        grant = Grant(role=role, services=services)  # type: ignore[arg-type]
        return self.access.tokens.make(name, grant, timedelta(days=1), account=account)[0]

    def machine(self, key: str) -> httpx.Client:
        """A program that shows a token, and has no browser's headers."""
        made = self.browser(Authorization=f"Bearer {key}")
        del made.headers["Origin"]
        return made

    def log(self) -> list[tuple[str, str, str, str]]:
        """Who, what, on what, outcome: the oldest first."""
        entries = reversed(self.access.log.newest(100))
        return [(entry.who, entry.what, entry.on, entry.outcome) for entry in entries]


_hashed: list[str] = []


def hashed_once() -> str:
    """The hash of the tests' password: hashing takes a while, on purpose."""
    if not _hashed:
        _hashed.append(passwords.hash_of(PASSWORD))
    return _hashed[0]


def csrf(browser: httpx.Client) -> str:
    """The token that the forms of a browser's session carry."""
    page = browser.get("/pages/sign-in-nowhere").text
    return page.partition('name="csrf" value="')[2].partition('"')[0]


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same hashes with less work: hundreds of them are made here."""
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(passwords, "_hasher", cheap)
    passwords._nobodys.cache_clear()
    _hashed.clear()


@pytest.fixture(scope="session")
def template(postgres: URL) -> Iterator[str]:
    """A database with our tables, to be copied for each test."""
    name = f"template_{uuid.uuid4().hex[:12]}"
    create_database(postgres, name)
    store = Store(url_on(postgres, name))
    store.create_tables()
    store.close()
    yield name
    drop_database(postgres, name)


@pytest.fixture
def database(postgres: URL, template: str) -> Iterator[str]:
    """The URL of an empty store of the test's own."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    create_database(postgres, name, template=template)
    yield url_on(postgres, name)
    drop_database(postgres, name)


@pytest.fixture(scope="session")
def app() -> FastAPI:
    """The app; whom it lets in and what is behind it is another world's in each test."""
    return create_app()


@pytest.fixture
def world(app: FastAPI, tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The app over an empty store."""
    store, clock = Store(database), Clock()
    monkeypatch.setattr(access_module, "time", StillTime())  # a caller that was looked up stays known until `forget`
    app.state.container = AdminServices(tmp_path, store)
    app.state.access = Access(store, Settings(), clock)
    app.state.rate = Rate(Settings().triggers_per_minute)
    made = World(app, app.state.access, clock, store, database)
    yield made
    for browser in made.browsers:
        browser.close()
    store.close()
