"""The history of a measured service on the running stack: from measure-service to door, command, page and event."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from slipway.client.http import AdminClient
from slipway.deployments.stack import Stack
from slipway.measurement.history import Point
from slipway.measurement.history_store import History
from slipway.runs.store import Store
from tests.stack.runs import Run, finished, wait_for

SERVICE = "shop-watched"
WATCHED = ("/orders", "customer", "pass")


@pytest.fixture(scope="module")
def drifted(stack: Stack, client: AdminClient) -> Run:
    """A measurement after a baseline of 1,000 ms and two windows of 100 ms."""
    store = Store(stack.environment["SLIPWAY_DATABASE_URL"])
    now = datetime.now(UTC)
    medians = [1_000.0] * 15 + [100.0, 100.0]
    route, identity, _ = WATCHED
    History(store).add(
        SERVICE,
        [
            Point(
                run_id=f"seed-{number}",
                at=now - timedelta(milliseconds=10 * (len(medians) - number)),
                route=route,
                identity=identity,
                cache="pass",
                samples=500,
                errors=0,
                median_ms=median,
                p90_ms=2 * median,
            )
            for number, median in enumerate(medians)
        ],
    )
    store.close()
    return finished(client, client.start("measure-service", {"service": SERVICE}))


def test_what_the_run_says(drifted: Run) -> None:
    """It has measured, and tells of the drift in the words of the series."""
    assert drifted["state"]["name"] == "Completed", drifted["failures"]
    told = drifted["state"]["message"]
    assert "/orders as customer (pass): faster than its baseline of 15 windows, median 1000 → 100 ms." in told
    assert [step["name"] for step in drifted["steps"]] == ["read service", "measure service", "keep history"]


def test_the_door(http: httpx.Client, drifted: Run) -> None:
    """Every series, and the points behind it since a time; an unknown service is a clear 404."""
    found = http.get(f"/services/{SERVICE}/history").json()
    later = http.get(f"/services/{SERVICE}/history", params={"since": "2999-01-01T00:00:00"}).json()
    unknown = http.get("/services/nope/history")
    [series] = [one for one in found["series"] if (one["route"], one["identity"], one["cache"]) == WATCHED]
    assert (series["drifted"], series["baseline_ms"]) == ("faster", 1_000.0)
    points = [one for one in found["points"] if one["run_id"] == drifted["id"]]
    assert {point["route"] for point in points} == {"/account", "/orders", "/products/1"}
    assert all(point["samples"] == 400 and point["median_ms"] > 0 for point in points)
    assert later["points"] == []
    assert unknown.status_code == 404 and unknown.json()["failed"] == "There is no service 'nope'."


def test_the_command(stack: Stack, drifted: Run) -> None:
    """A sentence and a sparkline a series."""
    command = [str(Path(sys.executable).parent / "slipway"), "measure", SERVICE, "--history"]
    environment = {**stack.environment, "SLIPWAY_ADMIN_URL": stack.admin_url}
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    lines = ran.stdout.splitlines()
    at = lines.index("/orders as customer (pass): faster than its baseline of 15 windows, median 1000 → 100 ms.")
    assert "███████████████" in lines[at + 1]


def test_the_page(http: httpx.Client, drifted: Run) -> None:
    """The same table, and the picture that the run has drawn."""
    page = http.get(f"/pages/services/{SERVICE}").text
    picture = http.get(f"/pages/runs/{drifted['id']}/picture.svg")
    assert "faster than its baseline of 15 windows" in page
    assert f'src="/pages/runs/{drifted["id"]}/picture.svg"' in page
    assert "<title>The history of shop-watched</title>" in picture.text


def test_the_event(stack: Stack, drifted: Run) -> None:
    """Prefect has the event that an automation can notify on, with the service, the route and the run."""
    wanted = {"filter": {"event": {"name": ["slipway.baseline.drifted"]}}}

    def events() -> list[dict[str, Any]]:
        answer = httpx.post(f"{stack.prefect_url}/api/events/filter", json=wanted, trust_env=False, timeout=60)
        found: list[dict[str, Any]] = answer.json()["events"]
        return found

    found = wait_for(events, "the event")
    [event] = [one for one in found if one["resource"]["slipway.route"] == "/orders"]
    assert event["resource"]["prefect.resource.id"] == f"slipway.service.{SERVICE}"
    assert event["resource"]["slipway.drifted"] == "faster"
    assert event["related"][0]["prefect.resource.id"] == f"prefect.flow-run.{drifted['id']}"
    assert event["payload"]["baseline_ms"] == 1_000.0


def test_never_two_probes_at_once(client: AdminClient) -> None:
    """Two measurements of one service are asked for at once: they are made one behind the other."""
    begun = [client.start("measure-service", {"service": "shop-quick"}) for _ in range(2)]
    windows = []
    for run in begun:
        ended = finished(client, run)
        assert ended["state"]["name"] == "Completed", ended["failures"]
        [window] = ended["measurements"]
        windows.append((datetime.fromisoformat(window["started_at"]).timestamp(), window["seconds"]))
    (first, seconds), (second, _) = sorted(windows)
    assert second >= first + seconds
