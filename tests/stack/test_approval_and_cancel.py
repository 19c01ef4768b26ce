"""A change that waits for approval, is approved, and is cancelled after the migration: it is rolled back."""

import re
import shutil
from pathlib import Path

import httpx
import pytest

from slipway.client.http import AdminClient
from slipway.core.errors import SlipwayError
from slipway.databases.postgresql.database import PostgreSQL
from slipway.deployments.stack import Stack
from tests.crash.killing import flow_process
from tests.paced import LatencyProxy
from tests.stack.runs import Run, finished, scalar, wait_for, wait_for_approval

NAME = "drop-with-approval"


@pytest.fixture(scope="module")
def change(changes: Path) -> str:
    """Create a change that drops an index in use and needs approval."""
    shutil.copytree(
        changes / "drop-open-orders-index", changes / NAME, ignore=shutil.ignore_patterns("record.md", "*.svg")
    )
    file = changes / NAME / "change.toml"
    policy = re.sub(r'service\s*= "shop"', 'service = "shop-quick"', file.read_text(encoding="utf-8"))
    file.write_text('approval = "required"\n' + policy, encoding="utf-8")
    return NAME


def test_a_cancelled_change_is_rolled_back_after_its_approval(
    rolled_back: Run,
    change: str,
    stack: Stack,
    client: AdminClient,
    approver: AdminClient,
    http: httpx.Client,
    shop_database: PostgreSQL,
    changes: Path,
    front: LatencyProxy,
) -> None:
    """The run waits without a process, migrates after another user's approval, and is rolled back when it is cancelled."""
    before = shop_database.schema()
    run = client.start("ship-change", {"change": change})
    wait_for_approval(client, run)
    wait_for(lambda: flow_process(stack) is None, "the process of the run to end")
    assert scalar(shop_database, "SELECT version_num FROM alembic_version") == "0008"
    with pytest.raises(SlipwayError, match="is in flight for shop-quick"):
        client.start("ship-change", {"change": change})

    assert http.post(f"/runs/{run['id']}/approve", json={"by": "grace", "why": "it is me"}).status_code == 422
    with pytest.raises(SlipwayError, match=f"ada requested run {run['id']} and cannot approve it"):
        client.act(run["id"], "approve", "my own work")
    assert client.run(run["id"])["asked_by"] == "ada"
    with front.hold("/account", signed_in=False):  # the purge reads this page to verify itself, so it cannot end
        approver.act(run["id"], "approve", "the copy came back whole")
        wait_for(
            lambda: has_started(client.run(run["id"]), "purge and verify after the migration"), "the change to be live"
        )
        with pytest.raises(SlipwayError, match="does not wait for approval"):
            approver.act(run["id"], "approve", "twice")
        assert scalar(shop_database, "SELECT version_num FROM alembic_version") == "0009"
        client.act(run["id"], "cancel", "the wrong day")
    ended = finished(client, run)
    assert (ended["state"]["type"], ended["state"]["name"]) == ("CANCELLED", "RolledBack"), ended["state"]
    assert "Cancelled by ada: the wrong day." in ended["decision"]["reason"]
    assert scalar(shop_database, "SELECT version_num FROM alembic_version") == "0008"
    assert shop_database.schema() == before
    record = (changes / NAME / "record.md").read_text(encoding="utf-8")
    assert "| approval | approved by grace: the copy came back whole |" in record
    assert "The change was rolled back. No action is needed." in record
    assert scalar(PostgreSQL(stack.environment["SLIPWAY_DATABASE_URL"]), "SELECT count(*) FROM hold") == 0


def has_started(run: Run, step: str) -> bool:
    """Return whether a step of a run has started."""
    return any(entry["name"] == step for entry in run["steps"])
