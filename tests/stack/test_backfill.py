"""A backfill on the running stack: paused, killed, resumed, cancelled and started again. Every row changes exactly once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import create_engine, text

from slipway.client.http import AdminClient
from slipway.core.errors import SlipwayError
from slipway.databases.postgresql.database import PostgreSQL
from slipway.deployments.stack import Stack
from tests.crash.killing import kill_flow
from tests.stack.runs import Run, finished, scalar, wait_for

NAME, ROWS = "add-one", 20_000
BACKFILL = """
service = "shop"
owner = "the tests"
reason = "to see that no row is lost or doubled"
expected = "one more in every row"
rollback = "nothing to undo"
table = "counted"
key = "id"
set = { n = "n + 1" }
[batch]
start = 200
smallest = 200
largest = 200
pause_s = 0.15
"""


@pytest.fixture
def counted(shop_database: PostgreSQL, changes: Path) -> Iterator[str]:
    """Create a table in the shop's database, and its backfill. Drop the table later, because other tests compare schemas."""
    (changes / NAME).mkdir()
    (changes / NAME / "backfill.toml").write_text(BACKFILL)
    run(shop_database, f"CREATE TABLE counted AS SELECT i AS id, 0 AS n FROM generate_series(1, {ROWS}) AS i")
    run(shop_database, "ALTER TABLE counted ADD PRIMARY KEY (id)")
    yield NAME
    run(shop_database, "DROP TABLE IF EXISTS counted, slipway_backfill, slipway_backfill_skipped")


def run(database: PostgreSQL, statement: str) -> None:
    """Run one statement."""
    engine = create_engine(database.url)
    try:
        with engine.begin() as connection:
            connection.execute(text(statement))
    finally:
        engine.dispose()


def attempts_of(stack: Stack, run: Run) -> int:
    """Return how often a run has started, according to Prefect."""
    flow_run = httpx.get(f"{stack.prefect_url}/api/flow_runs/{run['id']}", trust_env=False).json()
    return int(flow_run["run_count"])


def test_a_backfill_survives_pause_kill_and_cancellation(
    counted: str,
    stack: Stack,
    client: AdminClient,
    approver: AdminClient,
    http: httpx.Client,
    shop_database: PostgreSQL,
) -> None:
    """The progress stays readable, the run keeps its service lock, and every row is changed exactly once at the end."""
    started = client.start("backfill", {"change": counted})

    def progress(run: Run) -> dict[str, Any]:
        return client.run(run["id"])["backfill"] or {"rows_passed": 0, "held_because": ""}

    wait_for(lambda: progress(started)["rows_passed"], "the first rows")
    with pytest.raises(SlipwayError, match=r"\(backfill add-one\) is in flight for shop"):
        client.start("ship-change", {"change": "refresh-catalogue"})

    client.act(started["id"], "pause", "rush hour")
    wait_for(lambda: progress(started)["held_because"] == "paused by ada: rush hour", "the pause")
    changed_rows = scalar(shop_database, "SELECT sum(n) FROM counted")
    kill_flow(stack, started)
    wait_for(lambda: attempts_of(stack, started) == 2, "the run to be resumed")  # the crashed state lasts only a moment
    wait_for(
        lambda: client.run(started["id"])["state"]["type"] == "RUNNING", "the admin service to show the running state"
    )
    client.act(started["id"], "resume", "it is quiet again")
    refused = http.post(f"/runs/{started['id']}/resume", json={"why": "twice"})
    assert refused.status_code == 409
    assert refused.json()["failed"] == f"Run {started['id']} is not paused."
    wait_for(lambda: progress(started)["rows_passed"] > changed_rows, "more rows than before the kill")

    approver.act(started["id"], "cancel", "enough for today")
    ended = finished(client, started)
    changed_rows = scalar(shop_database, "SELECT sum(n) FROM counted")
    assert 0 < changed_rows < ROWS
    assert ended["state"] == {
        "type": "CANCELLED",
        "name": "Cancelled",
        "message": f"Cancelled by grace: enough for today. {changed_rows:,} of {ROWS:,} rows are done and stay changed; "
        f"slipway backfill {counted} continues from there.",
    }
    assert ended["failures"] == []
    assert scalar(PostgreSQL(stack.environment["SLIPWAY_DATABASE_URL"]), "SELECT count(*) FROM hold") == 0

    again = finished(client, client.start("backfill", {"change": counted}))
    assert again["state"]["message"] == "20,000 rows passed, 20,000 changed, 0 skipped", again
    assert again["backfill"]["rows_passed"] == ROWS
    query = {"artifacts": {"flow_run_id": {"any_": [again["id"]]}, "type": {"any_": ["progress"]}}}
    bars = httpx.post(f"{stack.prefect_url}/api/artifacts/filter", json=query, trust_env=False).json()
    assert [bar["data"] for bar in bars] == [100.0]  # the progress in the Prefect UI
    assert scalar(shop_database, "SELECT ARRAY[sum(n), min(n), max(n)] FROM counted") == [ROWS, 1, 1]
    refused_pause = http.post(f"/runs/{again['id']}/pause", json={"why": "late"})
    assert refused_pause.json()["failed"] == f"Run {again['id']} is over: Backfilled."
