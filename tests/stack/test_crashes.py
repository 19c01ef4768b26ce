"""What becomes of a run whose process is killed, or that somebody cancels, on the running stack."""

from collections.abc import Callable
from typing import Any

import httpx
import psutil

from slipway.client.http import AdminClient
from slipway.databases.postgresql.database import PostgreSQL
from slipway.deployments.stack import Stack
from tests.crash.killing import flow_process, kill_flow, kill_worker_alone
from tests.paced import Paced
from tests.stack.runs import Run, finished, scalar


def step(run: Run, name: str) -> dict[str, Any]:
    """One step of a run."""
    return next(found for found in run["steps"] if found["name"] == name)


def test_a_killed_run_goes_on_from_its_last_finished_step(
    kept: Run, stack: Stack, client: AdminClient, front: Paced, until: Callable[[Run, str], Run]
) -> None:
    """The step that had finished is not run again, the one in flight is, and the run ends as if nothing had been."""
    with front.hold("/products", signed_in=False):  # the purge is verified by reading it, and cannot end
        run = client.start("purge-routes", {"service": "shop", "routes": ["/products"]})
        before = until(run, "purge routes")
        kill_flow(stack, run)
    ended = finished(client, run)
    assert ended["state"]["message"] == "1 routes read after the purge"
    assert step(ended, "read service to purge")["started"] == step(before, "read service to purge")["started"]
    assert step(ended, "purge routes")["state"]["type"] == "COMPLETED"


def test_a_killed_worker_takes_its_run_along_and_another_goes_on(
    rolled_back: Run,
    stack: Stack,
    said: list[str],
    client: AdminClient,
    front: Paced,
    until: Callable[[Run, str], Run],
) -> None:
    """No orphan goes on without its worker; the worker that is started next resumes the run, which still has the hold."""
    with front.hold("/account", signed_in=False):
        run = client.start("roll-back-change", {"change": "drop-open-orders-index"})
        until(run, "purge and verify after the roll back")
        orphan = flow_process(stack)
        assert orphan is not None
        kill_worker_alone(stack, run)
        gone, _ = psutil.wait_procs([orphan], timeout=120)
        assert gone == [orphan]
    ended = finished(client, run)
    assert ended["state"]["message"] == "nothing was left to do, the database already stands at 0008."
    assert any(line.startswith("worker died") for line in said)
    assert scalar(PostgreSQL(stack.environment["SLIPWAY_DATABASE_URL"]), "SELECT count(*) FROM hold") == 0


def test_cancelling_before_the_migration_stops_cleanly(
    rolled_back: Run,
    stack: Stack,
    client: AdminClient,
    http: httpx.Client,
    front: Paced,
    until: Callable[[Run, str], Run],
    shop_database: PostgreSQL,
) -> None:
    """A run that is cancelled while it inspects ends there, releases the service, and has changed nothing."""
    with front.hold("/account", signed_in=False):
        run = client.start("ship-change", {"change": "drop-open-orders-index"})
        until(run, "inspect headers")
        client.say(run["id"], "cancel", "the wrong day")
    ended = finished(client, run)
    assert ended["state"] == {
        "type": "CANCELLED",
        "name": "Cancelled",
        "message": "Cancelled by ada: the wrong day. Nothing had been changed.",
    }
    assert scalar(shop_database, "SELECT version_num FROM alembic_version") == "0008"
    assert scalar(PostgreSQL(stack.environment["SLIPWAY_DATABASE_URL"]), "SELECT count(*) FROM hold") == 0
    again = http.post(f"/runs/{run['id']}/cancel", json={"why": "again"})
    assert again.status_code == 409
    assert again.json()["failed"] == f"Run {run['id']} is over: Cancelled."


def test_who_cancels_must_say_why(kept: Run, http: httpx.Client) -> None:
    """A cancel without a reason, or in another's name, and an approval of what does not wait for one, are refused."""
    for body in ({}, {"why": ""}, {"by": "grace", "why": "it is me"}):
        assert http.post(f"/runs/{kept['id']}/cancel", json=body).status_code == 422
    approved = http.post(f"/runs/{kept['id']}/approve", json={"why": "looks good"})
    assert approved.status_code == 409
    assert approved.json()["failed"] == f"Run {kept['id']} does not wait for approval: it is Kept."
