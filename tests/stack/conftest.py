"""The whole embedded stack once a process, and the three example changes shipped through it in their order.

The services are reached through a front that sets their latencies (`tests.paced`), so that each verdict is known
beforehand on any machine. Only `shop-real` is measured as it is.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from slipway.accounts.accounts import Accounts
from slipway.accounts.grants import Grant, Role
from slipway.accounts.tokens import Tokens
from slipway.client.http import AdminClient
from slipway.databases.postgresql.database import PostgreSQL
from slipway.deployments.ports import free_ports
from slipway.deployments.stack import PREFERRED, Stack
from slipway.runs.store import Store
from tests.crash.world import migrate_shop, quick_config
from tests.paced import Paced
from tests.stack.runs import Run, finished, scalar, wait_for

ROOT = Path(__file__).parents[2]
USUAL_MS, SLOW_MS = 100.0, 500.0
SLOW_WITHOUT = {"/orders": "ix_orders_history", "/account": "ix_orders_open"}  # an index, by the page that needs it
MARGIN = "margin = 1.0"  # ratios from 1/2 to 2 are "same": wider than what a busy machine adds to 100 ms
ORDERS = 100_000


@pytest.fixture(scope="package")
def front() -> Iterator[Paced]:
    """The front that sets the latencies of the shop."""
    [port] = free_ports([0])
    with Paced(port) as running:
        yield running


def by_index(database: PostgreSQL) -> Callable[[str, bool], float]:
    """The latency of a page in ms: slow for signed-in visitors while the index that it needs is missing."""

    def latency_ms(target: str, signed_in: bool) -> float:
        index = SLOW_WITHOUT.get(target)
        if index is None or not signed_in or scalar(database, f"SELECT to_regclass('{index}') IS NOT NULL"):
            return USUAL_MS
        return SLOW_MS

    return latency_ms


@pytest.fixture(scope="package")
def changes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the example changes in a git repository of their own, so that records are not written into ours."""
    folder = tmp_path_factory.mktemp("repository") / "changes"
    shutil.copytree(ROOT / "changes", folder, ignore=shutil.ignore_patterns("record.md", "*.svg"))
    for file in folder.glob("*/change.toml"):
        text = file.read_text(encoding="utf-8")
        assert "[judge]" in text
        file.write_text(text.replace("margin = 0.10\n", "").replace("[judge]", f"[judge]\n{MARGIN}"), encoding="utf-8")
    git = ["git", "-C", str(folder.parent), "-c", "user.name=test", "-c", "user.email=test@example.com"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "the example changes"]):
        subprocess.run([*git, *arguments], check=True)
    return folder


@pytest.fixture(scope="package")
def config(tmp_path_factory: pytest.TempPathFactory, front: Paced, forked_alembic: Path) -> Path:
    """The shop of the project's slipway.toml under several names, so that tests do not share a hold or a history.

    `shop-quick` is also the staging of `shop-live`, whose database is another one, as it must be; no change here
    migrates it. `shop-real` is the shop without the front, and with Alembic itself instead of a fork.
    """
    file = tmp_path_factory.mktemp("config") / "slipway.toml"
    live = paced_config(front, forked_alembic, "shop-live").replace("SHOP_DATABASE_URL", "SLIPWAY_DATABASE_URL")
    services = [
        *(paced_config(front, forked_alembic, name) for name in ("shop", "shop-quick", "shop-watched")),
        f'{live}\n[service.staging]\nservice = "shop-quick"\n',
        named(quick_config(), "shop-real"),
    ]
    file.write_text("\n".join(services), encoding="utf-8")
    return file


def paced_config(front: Paced, alembic: Path, name: str) -> str:
    """A service behind the front, measured in short windows in which no request is late or lost on a slow machine."""
    written = named(quick_config(), name)
    for old, new in (
        ('url = { env = "SHOP_URL" }', f'url = "{front.url}"'),
        ('bin = ".venv/bin"', f'bin = "{alembic}"'),
        ("requests = 22", "requests = 20"),
        ("rate = 150", "rate = 400\nin_flight = 1_000\ntimeout_s = 60"),
    ):
        assert old in written, old
        written = written.replace(old, new, 1)
    return written


def named(text: str, name: str) -> str:
    """The entry of the shop under another name."""
    assert 'name = "shop"' in text
    return text.replace('name = "shop"', f'name = "{name}"')


@pytest.fixture(scope="package")
def said() -> list[str]:
    """What the stack's supervisor said."""
    return []


@pytest.fixture(scope="package")
def own_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder from which the worker can import flows that a test adds."""
    return tmp_path_factory.mktemp("own_code")


@pytest.fixture(scope="package")
def stack(
    tmp_path_factory: pytest.TempPathFactory,
    changes: Path,
    config: Path,
    front: Paced,
    own_code: Path,
    said: list[str],
) -> Iterator[Stack]:
    """PostgreSQL, Prefect, worker, admin service, a smaller shop and its cache, as `make demo` starts them."""
    home = tmp_path_factory.mktemp("stack")
    any_ports = json.dumps(dict.fromkeys(PREFERRED, 0))  # another stack starts at the same time
    (home / "ports.json").write_text(any_ports, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(
            "PYTHONPATH", os.pathsep.join([str(own_code), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
        )
        patch.setenv("PREFECT_WORKER_QUERY_SECONDS", "1")  # a test can wait, and others need the processor
        options = {"durable": False, "config": config, "orders": ORDERS}
        with Stack(home, changes=changes, fresh=True, say=said.append, **options) as running:
            front.upstream = running.shop_url
            front.latency_ms = by_index(PostgreSQL(running.environment["SHOP_DATABASE_URL"]))
            pause_schedules(running)
            yield running


def pause_schedules(stack: Stack) -> None:
    """Pause all schedules: which runs there are must not depend on the time of day."""
    with httpx.Client(base_url=f"{stack.prefect_url}/api/deployments", trust_env=False, timeout=60) as prefect:
        for job in prefect.post("/filter", json={}).json():
            prefect.patch(f"/{job['id']}", json={"paused": True}).raise_for_status()


@pytest.fixture(scope="package")
def client(stack: Stack) -> Iterator[AdminClient]:
    """A client of the running admin service: the person `ada`, an admin, by a token of hers."""
    with AdminClient(stack.admin_url, token_of(stack, "ada", "admin")) as made:
        yield made


@pytest.fixture(scope="package")
def approver(stack: Stack) -> Iterator[AdminClient]:
    """Another person, `grace`, who may approve what `ada` asks for."""
    with AdminClient(stack.admin_url, token_of(stack, "grace", "approver")) as made:
        yield made


@pytest.fixture(scope="package")
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


@pytest.fixture(scope="package")
def until(client: AdminClient) -> Callable[[Run, str], Run]:
    """Wait until a step of a run is running. The step must last until the test lets it end."""

    def wait(run: Run, step: str) -> Run:
        def running() -> Run | None:
            current = client.run(run["id"])
            steps = [found for found in current["steps"] if found["name"] == step]
            return current if steps and steps[-1]["state"]["type"] == "RUNNING" else None

        found: Run = wait_for(running, f"{step!r} of run {run['id']}")
        return found

    return wait


@pytest.fixture(scope="package")
def ship(client: AdminClient) -> Callable[[str], Run]:
    """Ship a change and wait for its end."""
    return lambda name: finished(client, client.start("ship-change", {"change": name}))


@pytest.fixture(scope="package")
def shop_database(stack: Stack) -> PostgreSQL:
    """The shop's live database."""
    return PostgreSQL(stack.environment["SHOP_DATABASE_URL"])


@pytest.fixture(scope="package")
def kept(ship: Callable[[str], Run]) -> Run:
    """The run that shipped the index for the order history."""
    return ship("order-history-index")


@pytest.fixture(scope="package")
def schema_before_the_drop(kept: Run, shop_database: PostgreSQL) -> str:
    """The shop's schema before the second change."""
    return shop_database.schema()


@pytest.fixture(scope="package")
def rolled_back(schema_before_the_drop: str, ship: Callable[[str], Run]) -> Run:
    """The run that dropped an index in use."""
    return ship("drop-open-orders-index")


@pytest.fixture(scope="package")
def at_0008(stack: Stack) -> None:
    """The shop at the revision from which most changes here start, by its own command."""
    migrate_shop(stack, "upgrade", "0008")


@pytest.fixture(scope="package")
def refused() -> list[httpx.Response]:
    """How the door answered the requests for a second change while the third example was in flight."""
    return []


@pytest.fixture(scope="package")
def refreshed(rolled_back: Run, http: httpx.Client, client: AdminClient, refused: list[httpx.Response]) -> Run:
    """The run that refreshed a page without a migration; meanwhile two more changes were asked for."""
    run = client.start("ship-change", {"change": "refresh-catalogue"})
    for name in ("refresh-catalogue", "order-history-index"):
        refused.append(http.post("/jobs/ship-change/runs", json={"change": name}))
    return finished(client, run)
