"""Runs whose process is killed, and runs that are cancelled, on the running stack."""

from collections.abc import Callable
from typing import Any

import httpx
import psutil

from slipway.client.http import AdminClient
from slipway.databases.postgresql.database import PostgreSQL
from slipway.deployments.stack import Stack
from tests.crash.killing import flow_process, kill_flow, kill_worker_alone
from tests.paced import LatencyProxy
from tests.stack.runs import Run, finished, scalar


def step(run: Run, name: str) -> dict[str, Any]:
    """Return one step of a run."""
    return next(entry for entry in run["steps"] if entry["name"] == name)


def test_a_killed_run_continues_after_its_last_finished_step(
    kept: Run, stack: Stack, client: AdminClient, front: LatencyProxy, until: Callable[[Run, str], Run]
) -> None:
    """The finished step is not repeated, the running one is, and the run ends normally."""
    with front.hold("/products", signed_in=False):  # the purge reads this page to verify itself, so it cannot end
        run = client.start("purge-routes", {"service": "shop", "routes": ["/products"]})
        before = until(run, "purge routes")
        kill_flow(stack, run)
    ended = finished(client, run)
    assert ended["state"]["message"] == "1 routes read after the purge"
    assert step(ended, "read service to purge")["started"] == step(before, "read service to purge")["started"]
    assert step(ended, "purge routes")["state"]["type"] == "COMPLETED"


def test_the_next_worker_resumes_the_run_of_a_killed_worker(
    rolled_back: Run,
    stack: Stack,
    reported: list[str],
    client: AdminClient,
    front: LatencyProxy,
    until: Callable[[Run, str], Run],
) -> None:
    """The run's process dies with its worker. The next worker resumes the run, which still holds the service lock."""
    with front.hold("/account", signed_in=False):
        run = client.start("roll-back-change", {"change": "drop-open-orders-index"})
        until(run, "purge and verify after the roll back")
        orphan = flow_process(stack)
        assert orphan is not None
        kill_worker_alone(stack, run)
        ended_processes, _ = psutil.wait_procs([orphan], timeout=120)
        assert ended_processes == [orphan]
    ended = finished(client, run)
    assert ended["state"]["message"] == "no action was needed: the database is already at revision 0008."
    assert any(line.startswith("worker died") for line in reported)
    assert scalar(PostgreSQL(stack.environment["SLIPWAY_DATABASE_URL"]), "SELECT count(*) FROM hold") == 0


def test_cancelling_before_the_migration_changes_nothing(
    rolled_back: Run,
    stack: Stack,
    client: AdminClient,
    http: httpx.Client,
    front: LatencyProxy,
    until: Callable[[Run, str], Run],
    shop_database: PostgreSQL,
) -> None:
    """A run that is cancelled during the inspection ends, releases the service lock, and has changed nothing."""
    with front.hold("/account", signed_in=False):
        run = client.start("ship-change", {"change": "drop-open-orders-index"})
        until(run, "inspect headers")
        client.act(run["id"], "cancel", "the wrong day")
    ended = finished(client, run)
    assert ended["state"] == {
        "type": "CANCELLED",
        "name": "Cancelled",
        "message": "Cancelled by ada: the wrong day. Nothing was changed.",
    }
    assert scalar(shop_database, "SELECT version_num FROM alembic_version") == "0008"
    assert scalar(PostgreSQL(stack.environment["SLIPWAY_DATABASE_URL"]), "SELECT count(*) FROM hold") == 0
    again = http.post(f"/runs/{run['id']}/cancel", json={"why": "again"})
    assert again.status_code == 409
    assert again.json()["failed"] == f"Run {run['id']} is over: Cancelled."


def test_a_cancellation_needs_a_reason(kept: Run, http: httpx.Client) -> None:
    """A cancellation without a reason or in another user's name is refused, and so is an approval that is not awaited."""
    for body in ({}, {"why": ""}, {"by": "grace", "why": "it is me"}):
        assert http.post(f"/runs/{kept['id']}/cancel", json=body).status_code == 422
    approved = http.post(f"/runs/{kept['id']}/approve", json={"why": "looks good"})
    assert approved.status_code == 409
    assert approved.json()["failed"] == f"Run {kept['id']} does not wait for approval: it is Kept."
