"""The read model with a real Prefect server: events arrive, a run is streamed live, and two admin processes agree."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from slipway.client.http import AdminClient
from slipway.deployments.ports import HOST, free_ports
from slipway.deployments.serving import admin_part
from slipway.deployments.stack import Stack
from tests.stack.runs import finished, wait_for

PURGE = {"service": "shop", "routes": ["/products"]}


@pytest.fixture(scope="module")
def other(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdminClient]:
    """Start a second admin process beside the stack's own. Yield a client of it."""
    [port] = free_ports([0])
    log = Path(tmp_path_factory.mktemp("admin")) / "admin.log"
    part = admin_part(stack.environment, port, log, name="second admin service")
    part.start()
    try:
        part.wait_until_ready(threading.Event())
        with AdminClient(f"http://{HOST}:{port}", stack.token) as client:
            yield client
    finally:
        part.stop()


def test_two_admin_processes_agree(client: AdminClient, other: AdminClient) -> None:
    """The other process lists a run that one process started, and its end."""
    run = client.start("purge-routes", PURGE)
    wait_for(lambda: run["id"] in [entry["id"] for entry in other.runs(20)], "the run in the other process")
    ended = finished(client, run)

    def agreed() -> bool:
        return next(entry for entry in other.runs(20) if entry["id"] == run["id"])["state"] == ended["state"]

    wait_for(agreed, "its end in the other process")
    assert other.run(run["id"])["steps"] == client.run(run["id"])["steps"]


def test_a_run_is_streamed_live(http: httpx.Client, client: AdminClient) -> None:
    """The stream sends the whole run, each change, and the end. Merged, they equal the response of GET."""
    run = client.start("purge-routes", PURGE)
    streamed: dict[str, Any] = {}
    names = []
    with http.stream("GET", f"/runs/{run['id']}/events", timeout=600) as response:
        for line in response.iter_lines():
            field, _, value = line.partition(": ")
            names += [value] if field == "event" else []
            streamed |= json.loads(value) if field == "data" else {}
    assert names[0] == "run" and names[-1] == "end" and "change" in names
    read = client.run(run["id"])
    assert {name: streamed[name] for name in ("state", "steps", "ended")} == {
        name: read[name] for name in ("state", "steps", "ended")
    }
    assert read["steps"][-1]["seconds"] > 0


def test_logs_are_paged_without_repeats(http: httpx.Client, client: AdminClient) -> None:
    """The log of a run is read page by page, and each line is returned once."""
    run = finished(client, client.start("purge-routes", PURGE))

    def lines() -> list[tuple[str, str]]:
        collected: list[tuple[str, str]] = []
        cursor = ""
        while True:
            query = {"limit": 2, "after": cursor}
            page = http.get(f"/runs/{run['id']}/logs", params=query).json()
            collected += [(line["at"], line["message"]) for line in page["logs"]]
            cursor = page["next"] or ""
            if not page["more"]:
                return collected

    log = wait_for(lines, "lines of the log")
    assert len(log) == len(set(log)) and log == sorted(log, key=lambda line: line[0])


def test_pausing_a_job_removes_its_scheduled_runs(stack: Stack, http: httpx.Client) -> None:
    """A job that is not paused has scheduled runs. A paused job has none, in Prefect itself."""
    url = "/jobs/measure-service"

    def planned() -> list[Any]:
        query = {"job": "measure-service", "state": "SCHEDULED"}
        scheduled: list[Any] = http.get("/runs", params=query).json()["runs"]
        return scheduled

    def paused_in_prefect() -> object:
        jobs = httpx.post(f"{stack.prefect_url}/api/deployments/filter", json={}, trust_env=False).json()
        return next(job["paused"] for job in jobs if job["name"] == "measure-service")

    assert paused_in_prefect() is True, "the stack's fixture should have paused all schedules"
    assert http.patch(url, json={"paused": False}).json()["paused"] is False
    assert paused_in_prefect() is False
    wait_for(planned, "runs that the schedule plans")
    assert http.patch(url, json={"paused": True}).json()["paused"] is True
    assert paused_in_prefect() is True
    wait_for(lambda: not planned(), "the planned runs to go")
