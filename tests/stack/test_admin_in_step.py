"""The read model on the real Prefect: its events arrive, a run is told as it happens, and two processes agree."""

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
    """A second admin process beside the stack's own."""
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


def test_two_processes_agree(client: AdminClient, other: AdminClient) -> None:
    """A run that one process starts is in the other's list, and so is its end."""
    run = client.start("purge-routes", PURGE)
    wait_for(lambda: run["id"] in [found["id"] for found in other.runs(20)], "the run in the other process")
    ended = finished(client, run)

    def agreed() -> bool:
        return next(found for found in other.runs(20) if found["id"] == run["id"])["state"] == ended["state"]

    wait_for(agreed, "its end in the other process")
    assert other.run(run["id"])["steps"] == client.run(run["id"])["steps"]


def test_a_run_told_as_it_happens(http: httpx.Client, client: AdminClient) -> None:
    """The stream has the whole run, each change, and its end; put together they are what GET answers."""
    run = client.start("purge-routes", PURGE)
    known: dict[str, Any] = {}
    names = []
    with http.stream("GET", f"/runs/{run['id']}/events", timeout=600) as answer:
        for line in answer.iter_lines():
            field, _, value = line.partition(": ")
            names += [value] if field == "event" else []
            known |= json.loads(value) if field == "data" else {}
    assert names[0] == "run" and names[-1] == "end" and "change" in names
    told = client.run(run["id"])
    assert {name: known[name] for name in ("state", "steps", "ended")} == {
        name: told[name] for name in ("state", "steps", "ended")
    }
    assert told["steps"][-1]["seconds"] > 0


def test_logs_as_prefect_has_them(http: httpx.Client, client: AdminClient) -> None:
    """The lines of a run come page by page, each once."""
    run = finished(client, client.start("purge-routes", PURGE))

    def lines() -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        cursor = ""
        while True:
            query = {"limit": 2, "after": cursor}
            page = http.get(f"/runs/{run['id']}/logs", params=query).json()
            found += [(line["at"], line["message"]) for line in page["logs"]]
            cursor = page["next"] or ""
            if not page["more"]:
                return found

    told = wait_for(lines, "lines of the log")
    assert len(told) == len(set(told)) and told == sorted(told, key=lambda line: line[0])


def test_schedules_are_switched(stack: Stack, http: httpx.Client) -> None:
    """A job that is not paused plans runs; once it is paused, it plans nothing more, in Prefect itself."""
    url = "/jobs/measure-service"

    def planned() -> list[Any]:
        query = {"job": "measure-service", "state": "SCHEDULED"}
        found: list[Any] = http.get("/runs", params=query).json()["runs"]
        return found

    def paused_in_prefect() -> object:
        jobs = httpx.post(f"{stack.prefect_url}/api/deployments/filter", json={}, trust_env=False).json()
        return next(job["paused"] for job in jobs if job["name"] == "measure-service")

    assert paused_in_prefect() is True, "the fixture of the stack pauses all schedules"
    assert http.patch(url, json={"paused": False}).json()["paused"] is False
    assert paused_in_prefect() is False
    wait_for(planned, "runs that the schedule plans")
    assert http.patch(url, json={"paused": True}).json()["paused"] is True
    assert paused_in_prefect() is True
    wait_for(lambda: not planned(), "the planned runs to go")
