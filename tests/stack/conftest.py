"""The embedded stack, started once per process, and the three example changes, shipped in their order.

A proxy in front of the services sets their latencies (`tests.paced`), so that each verdict is known in advance on any
machine. Only `shop-real` is measured without the proxy.
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
from tests.paced import LatencyProxy
from tests.stack.runs import Run, finished, scalar, wait_for

ROOT = Path(__file__).parents[2]
USUAL_MS, SLOW_MS = 100.0, 500.0
SLOW_WITHOUT = {"/orders": "ix_orders_history", "/account": "ix_orders_open"}  # page -> the index that it needs
MARGIN = "margin = 1.0"  # ratios from 1/2 to 2 are "same": more than a busy machine adds to 100 ms
ORDERS = 100_000


@pytest.fixture(scope="package")
def front() -> Iterator[LatencyProxy]:
    """Start the proxy that sets the latencies of the shop."""
    [port] = free_ports([0])
    with LatencyProxy(port) as proxy:
        yield proxy


def by_index(database: PostgreSQL) -> Callable[[str, bool], float]:
    """Return a latency function in ms: a page is slow for signed-in visitors while its index is missing."""

    def latency_ms(target: str, signed_in: bool) -> float:
        index = SLOW_WITHOUT.get(target)
        if index is None or not signed_in or scalar(database, f"SELECT to_regclass('{index}') IS NOT NULL"):
            return USUAL_MS
        return SLOW_MS

    return latency_ms


@pytest.fixture(scope="package")
def changes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the example changes into a new git repository, so that records are not written into this one."""
    folder = tmp_path_factory.mktemp("repository") / "changes"
    shutil.copytree(ROOT / "changes", folder, ignore=shutil.ignore_patterns("record.md", "*.svg"))
    for file in folder.glob("*/change.toml"):
        policy = file.read_text(encoding="utf-8")
        assert "[judge]" in policy
        file.write_text(
            policy.replace("margin = 0.10\n", "").replace("[judge]", f"[judge]\n{MARGIN}"), encoding="utf-8"
        )
    git = ["git", "-C", str(folder.parent), "-c", "user.name=test", "-c", "user.email=test@example.com"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "the example changes"]):
        subprocess.run([*git, *arguments], check=True)
    return folder


@pytest.fixture(scope="package")
def config(tmp_path_factory: pytest.TempPathFactory, front: LatencyProxy, forked_alembic: Path) -> Path:
    """Write a slipway.toml with the shop under several names, so that tests do not share a service lock or a history.

    `shop-quick` is also the staging service of `shop-live`. These two need different databases; no test migrates the one
    of `shop-live`. `shop-real` is the shop without the proxy, and with Alembic itself instead of a fork.
    """
    file = tmp_path_factory.mktemp("config") / "slipway.toml"
    live_entry = paced_config(front, forked_alembic, "shop-live").replace("SHOP_DATABASE_URL", "SLIPWAY_DATABASE_URL")
    services = [
        *(paced_config(front, forked_alembic, name) for name in ("shop", "shop-quick", "shop-watched")),
        f'{live_entry}\n[service.staging]\nservice = "shop-quick"\n',
        named(quick_config(), "shop-real"),
    ]
    file.write_text("\n".join(services), encoding="utf-8")
    return file


def paced_config(front: LatencyProxy, alembic: Path, name: str) -> str:
    """Return the entry of a service behind the proxy, with short windows without late or lost requests on slow machines."""
    entry = named(quick_config(), name)
    for old, new in (
        ('url = { env = "SHOP_URL" }', f'url = "{front.url}"'),
        ('bin = ".venv/bin"', f'bin = "{alembic}"'),
        ("requests = 22", "requests = 20"),
        ("rate = 150", "rate = 400\nin_flight = 1_000\ntimeout_s = 60"),
    ):
        assert old in entry, old
        entry = entry.replace(old, new, 1)
    return entry


def named(text: str, name: str) -> str:
    """Return the entry of the shop under another name."""
    assert 'name = "shop"' in text
    return text.replace('name = "shop"', f'name = "{name}"')


@pytest.fixture(scope="package")
def reported() -> list[str]:
    """Return the list of the lines that the stack reports."""
    return []


@pytest.fixture(scope="package")
def own_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder from which the worker can import flows that a test adds."""
    return tmp_path_factory.mktemp("own_code")


@pytest.fixture(scope="package")
def stack(
    tmp_path_factory: pytest.TempPathFactory,
    changes: Path,
    config: Path,
    front: LatencyProxy,
    own_code: Path,
    reported: list[str],
) -> Iterator[Stack]:
    """Start PostgreSQL, Prefect, worker, admin service, a smaller shop and its cache, as `make demo` does."""
    home = tmp_path_factory.mktemp("stack")
    any_ports = json.dumps(dict.fromkeys(PREFERRED, 0))  # another stack starts at the same time
    (home / "ports.json").write_text(any_ports, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(
            "PYTHONPATH", os.pathsep.join([str(own_code), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
        )
        patch.setenv("PREFECT_WORKER_QUERY_SECONDS", "1")  # slower than the default, because other tests need the CPU
        options = {"durable": False, "config": config, "orders": ORDERS}
        with Stack(home, changes=changes, fresh=True, report=reported.append, **options) as running:
            front.upstream = running.shop_url
            front.latency_ms = by_index(PostgreSQL(running.environment["SHOP_DATABASE_URL"]))
            pause_schedules(running)
            yield running


def pause_schedules(stack: Stack) -> None:
    """Pause all schedules, so that the runs do not depend on the time of day."""
    with httpx.Client(base_url=f"{stack.prefect_url}/api/deployments", trust_env=False, timeout=60) as prefect:
        for job in prefect.post("/filter", json={}).json():
            prefect.patch(f"/{job['id']}", json={"paused": True}).raise_for_status()


@pytest.fixture(scope="package")
def client(stack: Stack) -> Iterator[AdminClient]:
    """Yield a client of the running admin service with a token of `ada`, an admin."""
    with AdminClient(stack.admin_url, token_of(stack, "ada", "admin")) as admin_client:
        yield admin_client


@pytest.fixture(scope="package")
def approver(stack: Stack) -> Iterator[AdminClient]:
    """Yield a client with a token of `grace`, who can approve the requests of `ada`."""
    with AdminClient(stack.admin_url, token_of(stack, "grace", "approver")) as admin_client:
        yield admin_client


@pytest.fixture(scope="package")
def http(stack: Stack) -> Iterator[httpx.Client]:
    """Yield a plain HTTP client of the admin service, with the stack's own token."""
    headers = {"Authorization": f"Bearer {stack.token}"}
    with httpx.Client(base_url=stack.admin_url, headers=headers, trust_env=False, timeout=30) as http_client:
        yield http_client


def token_of(stack: Stack, name: str, role: Role) -> str:
    """Create an account and return a token of it."""
    with closing(Store(stack.environment["SLIPWAY_DATABASE_URL"])) as store:
        Accounts(store).add(name, Grant(role=role), by="a test")
        return Tokens(store).make(f"{name}.test", Grant(role=role), timedelta(days=1), account=name)[0]


@pytest.fixture(scope="package")
def until(client: AdminClient) -> Callable[[Run, str], Run]:
    """Return a function that waits until a step of a run is running. The step must last until the test lets it end."""

    def wait(run: Run, step: str) -> Run:
        def running() -> Run | None:
            current = client.run(run["id"])
            steps = [entry for entry in current["steps"] if entry["name"] == step]
            return current if steps and steps[-1]["state"]["type"] == "RUNNING" else None

        step_run: Run = wait_for(running, f"{step!r} of run {run['id']}")
        return step_run

    return wait


@pytest.fixture(scope="package")
def ship(client: AdminClient) -> Callable[[str], Run]:
    """Return a function that ships a change and waits for the end of the run."""
    return lambda name: finished(client, client.start("ship-change", {"change": name}))


@pytest.fixture(scope="package")
def shop_database(stack: Stack) -> PostgreSQL:
    """Return the shop's live database."""
    return PostgreSQL(stack.environment["SHOP_DATABASE_URL"])


@pytest.fixture(scope="package")
def kept(ship: Callable[[str], Run]) -> Run:
    """Return the run that shipped the index for the order history."""
    return ship("order-history-index")


@pytest.fixture(scope="package")
def schema_before_the_drop(kept: Run, shop_database: PostgreSQL) -> str:
    """Return the shop's schema before the second change."""
    return shop_database.schema()


@pytest.fixture(scope="package")
def rolled_back(schema_before_the_drop: str, ship: Callable[[str], Run]) -> Run:
    """Return the run that dropped an index in use."""
    return ship("drop-open-orders-index")


@pytest.fixture(scope="package")
def at_0008(stack: Stack) -> None:
    """Migrate the shop to the revision from which most changes here start, by its own command."""
    migrate_shop(stack, "upgrade", "0008")


@pytest.fixture(scope="package")
def refused() -> list[httpx.Response]:
    """Return the responses to requests for a second change while the third example was in flight."""
    return []


@pytest.fixture(scope="package")
def refreshed(rolled_back: Run, http: httpx.Client, client: AdminClient, refused: list[httpx.Response]) -> Run:
    """Return the run that refreshed a page without a migration. Two more changes were requested while it was in flight."""
    run = client.start("ship-change", {"change": "refresh-catalogue"})
    for name in ("refresh-catalogue", "order-history-index"):
        refused.append(http.post("/jobs/ship-change/runs", json={"change": name}))
    return finished(client, run)
