"""The whole embedded stack once a session, and the three example changes shipped through it in their order."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from deployments.stack import Stack
from slipway.access import Grant, Role
from slipway.adapters.access.accounts import Accounts
from slipway.adapters.access.tokens import Tokens
from slipway.adapters.admin_client import AdminClient
from slipway.adapters.databases.postgresql import PostgreSQL
from slipway.adapters.store import Store
from tests.crash.world import portable_config, quick_config
from tests.stack.runs import Run, finished

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def changes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the example changes in a git repository of their own, so that records are not written into ours."""
    folder = tmp_path_factory.mktemp("repository") / "changes"
    shutil.copytree(ROOT / "changes", folder, ignore=shutil.ignore_patterns("record.md", "*.svg"))
    git = ["git", "-C", str(folder.parent), "-c", "user.name=test", "-c", "user.email=test@example.com"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "the example changes"]):
        subprocess.run([*git, *arguments], check=True)
    return folder


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's slipway.toml, and in it the shop once more as `shop-quick`, which is measured for a shorter time.

    As `shop-watched`, whose history no other test adds to. And as `shop-live`, whose staging `shop-quick` is: they share the
    pages; its database is another one, as it must be, and no change here migrates it.
    """
    file = tmp_path_factory.mktemp("config") / "slipway.toml"
    quick = quick_config().replace('name = "shop"', 'name = "shop-quick"')
    live = quick_config().replace('name = "shop"', 'name = "shop-live"')
    live = live.replace("SHOP_DATABASE_URL", "SLIPWAY_DATABASE_URL") + '\n[service.staging]\nservice = "shop-quick"\n'
    watched = portable_config().replace('name = "shop"', 'name = "shop-watched"')
    file.write_text(f"{portable_config()}\n{quick}\n{live}\n{watched}", encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def said() -> list[str]:
    """What the stack's supervisor said."""
    return []


@pytest.fixture(scope="session")
def own_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder from which the worker can import flows that a test adds."""
    return tmp_path_factory.mktemp("own_code")


@pytest.fixture(scope="session")
def stack(
    tmp_path_factory: pytest.TempPathFactory, changes: Path, config: Path, own_code: Path, said: list[str]
) -> Iterator[Stack]:
    """PostgreSQL, Prefect, worker, admin service, shop and cache, as `make demo` starts them."""
    home = tmp_path_factory.mktemp("stack")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(
            "PYTHONPATH", os.pathsep.join([str(own_code), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
        )
        with Stack(home, changes=changes, fresh=True, say=said.append, durable=False, config=config) as running:
            yield running


@pytest.fixture(scope="session")
def client(stack: Stack) -> Iterator[AdminClient]:
    """A client of the running admin service: the person `ada`, an admin, by a token of hers."""
    with AdminClient(stack.admin_url, token_of(stack, "ada", "admin")) as made:
        yield made


@pytest.fixture(scope="session")
def approver(stack: Stack) -> Iterator[AdminClient]:
    """Another person, `grace`, who may approve what `ada` asks for."""
    with AdminClient(stack.admin_url, token_of(stack, "grace", "approver")) as made:
        yield made


@pytest.fixture(scope="session")
def http(stack: Stack) -> Iterator[httpx.Client]:
    """A plain HTTP client of the admin service, with the stack's own token."""
    headers = {"Authorization": f"Bearer {stack.token}"}
    with httpx.Client(base_url=stack.admin_url, headers=headers, trust_env=False, timeout=30) as made:
        yield made


def token_of(stack: Stack, name: str, role: Role) -> str:
    """A token that a new person has made."""
    with closing(Store(stack.environment["SLIPWAY_DATABASE_URL"])) as store:
        Accounts(store).add(name, Grant(role=role), by="a test")
        return Tokens(store).make(f"{name}.test", Grant(role=role), timedelta(days=1), account=name)[0]


@pytest.fixture(scope="session")
def until(client: AdminClient) -> Callable[[Run, str], Run]:
    """Wait until a step of a run is at work."""

    def wait(run: Run, step: str) -> Run:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            current = client.run(run["id"])
            if any(found["name"] == step and found["state"]["type"] == "RUNNING" for found in current["steps"]):
                return current
            time.sleep(0.05)
        pytest.fail(f"waited 90 s for {step!r} of run {run['id']}")

    return wait


@pytest.fixture(scope="session")
def ship(client: AdminClient) -> Callable[[str], Run]:
    """Ship a change and wait for its end."""
    return lambda name: finished(client, client.start("ship-change", {"change": name}))


@pytest.fixture(scope="session")
def shop_database(stack: Stack) -> PostgreSQL:
    """The shop's live database."""
    return PostgreSQL(stack.environment["SHOP_DATABASE_URL"])


@pytest.fixture(scope="session")
def kept(ship: Callable[[str], Run]) -> Run:
    """The run that shipped the index for the order history."""
    return ship("order-history-index")


@pytest.fixture(scope="session")
def schema_before_the_drop(kept: Run, shop_database: PostgreSQL) -> str:
    """The shop's schema before the second change."""
    return shop_database.schema()


@pytest.fixture(scope="session")
def rolled_back(schema_before_the_drop: str, ship: Callable[[str], Run]) -> Run:
    """The run that dropped an index in use."""
    return ship("drop-open-orders-index")


@pytest.fixture(scope="session")
def refused() -> list[httpx.Response]:
    """How the door answered the requests for a second change while the third example was in flight."""
    return []


@pytest.fixture(scope="session")
def refreshed(rolled_back: Run, http: httpx.Client, client: AdminClient, refused: list[httpx.Response]) -> Run:
    """The run that refreshed a page without a migration; meanwhile two more changes were asked for."""
    run = client.start("ship-change", {"change": "refresh-catalogue"})
    for name in ("refresh-catalogue", "order-history-index"):
        refused.append(http.post("/jobs/ship-change/runs", json={"change": name}))
    return finished(client, run)
