"""The history of a measured service on the running stack: from measure-service to API, command, page and event."""

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
    """Return the run of a measurement after a baseline of 1,000 ms and two windows of 100 ms."""
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


def test_the_run_reports_the_drift(drifted: Run) -> None:
    """The run has measured, and reports the drift with the sentence of the series."""
    assert drifted["state"]["name"] == "Completed", drifted["failures"]
    message = drifted["state"]["message"]
    assert "/orders as customer (pass): faster than its baseline of 15 windows, median 1000 → 100 ms." in message
    assert [step["name"] for step in drifted["steps"]] == ["read service", "measure service", "keep history"]


def test_the_api_returns_series_and_points(http: httpx.Client, drifted: Run) -> None:
    """The API returns every series, and the points since a time. An unknown service is a 404."""
    history = http.get(f"/services/{SERVICE}/history").json()
    later = http.get(f"/services/{SERVICE}/history", params={"since": "2999-01-01T00:00:00"}).json()
    unknown = http.get("/services/nope/history")
    [series] = [entry for entry in history["series"] if (entry["route"], entry["identity"], entry["cache"]) == WATCHED]
    assert (series["drifted"], series["baseline_ms"]) == ("faster", 1_000.0)
    points = [entry for entry in history["points"] if entry["run_id"] == drifted["id"]]
    assert {point["route"] for point in points} == {"/account", "/orders", "/products/1"}
    assert all(point["samples"] == 400 and point["median_ms"] > 0 for point in points)
    assert later["points"] == []
    assert unknown.status_code == 404 and unknown.json()["failed"] == "There is no service 'nope'."


def test_the_command_prints_the_history(stack: Stack, drifted: Run) -> None:
    """The command prints a sentence and a sparkline for each series."""
    command = [str(Path(sys.executable).parent / "slipway"), "measure", SERVICE, "--history"]
    environment = {**stack.environment, "SLIPWAY_ADMIN_URL": stack.admin_url}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    lines = result.stdout.splitlines()
    at = lines.index("/orders as customer (pass): faster than its baseline of 15 windows, median 1000 → 100 ms.")
    assert "███████████████" in lines[at + 1]


def test_the_page_shows_the_history(http: httpx.Client, drifted: Run) -> None:
    """The page shows the same sentence, and the picture of the run."""
    page = http.get(f"/pages/services/{SERVICE}").text
    picture = http.get(f"/pages/runs/{drifted['id']}/picture.svg")
    assert "faster than its baseline of 15 windows" in page
    assert f'src="/pages/runs/{drifted["id"]}/picture.svg"' in page
    assert "<title>The history of shop-watched</title>" in picture.text


def test_prefect_has_the_drift_event(stack: Stack, drifted: Run) -> None:
    """Prefect has an event with the service, the route and the run, for which an automation can send notifications."""
    query = {"filter": {"event": {"name": ["slipway.baseline.drifted"]}}}

    def events() -> list[dict[str, Any]]:
        response = httpx.post(f"{stack.prefect_url}/api/events/filter", json=query, trust_env=False, timeout=60)
        drift_events: list[dict[str, Any]] = response.json()["events"]
        return drift_events

    drift_events = wait_for(events, "the event")
    [event] = [entry for entry in drift_events if entry["resource"]["slipway.route"] == "/orders"]
    assert event["resource"]["prefect.resource.id"] == f"slipway.service.{SERVICE}"
    assert event["resource"]["slipway.drifted"] == "faster"
    assert event["related"][0]["prefect.resource.id"] == f"prefect.flow-run.{drifted['id']}"
    assert event["payload"]["baseline_ms"] == 1_000.0


def test_a_service_is_never_measured_twice_at_once(client: AdminClient) -> None:
    """Two measurements of a service that are requested at the same time run one after the other."""
    runs = [client.start("measure-service", {"service": "shop-quick"}) for _ in range(2)]
    windows = []
    for run in runs:
        ended = finished(client, run)
        assert ended["state"]["name"] == "Completed", ended["failures"]
        [window] = ended["measurements"]
        windows.append((datetime.fromisoformat(window["started_at"]).timestamp(), window["seconds"]))
    (first, seconds), (second, _) = sorted(windows)
    assert second >= first + seconds
