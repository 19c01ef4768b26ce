"""The admin service at its HTTP doors, and the command line before it, on the running stack."""

import json
import subprocess
from typing import Any

import httpx
import pytest

from slipway.client.http import AdminClient
from slipway.core.errors import InvalidInput, SlipwayError
from slipway.deployments.stack import Stack
from tests.stack.conftest import USUAL_MS
from tests.stack.runs import Run, finished, wait_for

JOBS = [
    "audit-service",
    "backfill",
    "measure-service",
    "purge-routes",
    "rehearse-change",
    "roll-back-change",
    "ship-change",
]


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The problem document of an answer, with the members that RFC 9457 and our contract ask for."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert {"type", "title", "detail", "failed", "expected", "retry_is_safe"} <= set(body)
    return body


def runs_in_prefect(stack: Stack) -> int:
    """How many flow runs there are that no schedule made."""
    wanted = {"flow_runs": {"state": {"name": {"not_any_": ["Scheduled"]}}}}
    return int(httpx.post(f"{stack.prefect_url}/api/flow_runs/count", json=wanted, trust_env=False).json())


def test_health_and_readiness(http: httpx.Client) -> None:
    """Health asks nobody; readiness tells that nothing is missing. Neither needs a sign-in; everything else does."""
    stranger = {"Authorization": ""}
    assert http.get("/health", headers=stranger).json() == {"ok": True}
    ready = http.get("/ready", headers=stranger)
    assert (ready.status_code, ready.json()) == (200, {"ready": True, "missing": []})
    problem(http.get("/runs", headers=stranger), 401)


def test_another_host_name_is_refused(http: httpx.Client) -> None:
    """A page of another site that points its own name at 127.0.0.1 gets nothing."""
    assert http.get("/jobs", headers={"Host": "evil.example"}).status_code == 400


def test_jobs_with_their_cards(http: httpx.Client) -> None:
    """Every job of prefect.yaml is there with card, parameters and schedules; an unknown one is a clear 404."""
    jobs = {job["name"]: job for job in http.get("/jobs").json()}
    assert set(JOBS) <= set(jobs)
    for job in jobs.values():
        assert all(word in job["card"] for word in ("**Owner:**", "**Expected:**", "**Rollback:**"))
    assert jobs["measure-service"]["schedules"][0]["schedule"]["cron"] == "17 * * * *"
    assert jobs["audit-service"]["schedules"][0]["schedule"]["cron"] == "43 4 * * *"
    assert http.get("/jobs/ship-change").json() == jobs["ship-change"]
    assert problem(http.get("/jobs/nope"), 404)["failed"] == "There is no job 'nope'."


@pytest.mark.parametrize(
    ("job", "parameters", "failed"),
    [
        ("ship-change", {"change": "refresh-catalogue", "force": True}, "'force' was unexpected"),
        ("ship-change", {}, "'change' is a required property"),
        ("ship-change", {"change": 7}, "change: 7 is not of type 'string'"),
        ("ship-change", {"change": "../secrets"}, "does not match"),
        ("ship-change", {"change": "no-such-change"}, "There is no change 'no-such-change'."),
        ("measure-service", {"service": "no-such-service"}, "There is no service 'no-such-service'."),
        ("audit-service", {"service": "no-such-service"}, "There is no service 'no-such-service'."),
        ("purge-routes", {"service": "shop", "routes": ["no-slash"]}, "does not match"),
        ("purge-routes", {"service": "shop", "job_variables": {"command": "id"}}, "'job_variables' was unexpected"),
    ],
)
def test_parameters_that_do_not_fit_start_nothing(
    http: httpx.Client, stack: Stack, job: str, parameters: dict[str, Any], failed: str
) -> None:
    """An unknown, missing or ill-typed parameter is refused at the door, in words, and no run is made."""
    before = runs_in_prefect(stack)
    body = problem(http.post(f"/jobs/{job}/runs", json=parameters), 422)
    assert failed in body["failed"]
    assert body["retry_is_safe"] is True
    assert runs_in_prefect(stack) == before


def test_a_body_that_is_no_object_is_refused(http: httpx.Client) -> None:
    """Neither a list nor something that is no JSON is taken as parameters."""
    assert "valid dictionary" in problem(http.post("/jobs/ship-change/runs", json=["x"]), 422)["failed"]
    headers = {"Content-Type": "application/json"}
    problem(http.post("/jobs/ship-change/runs", content=b"{", headers=headers), 422)


def test_the_same_key_is_the_same_run(http: httpx.Client, client: AdminClient, stack: Stack) -> None:
    """An Idempotency-Key makes one run however often it is sent, and is refused with other parameters."""
    body, key = {"service": "shop", "routes": ["/products"]}, {"Idempotency-Key": "purge-once"}
    first = http.post("/jobs/purge-routes/runs", json=body, headers=key)
    assert first.status_code == 202
    assert first.headers["location"] == f"/runs/{first.json()['id']}"
    assert http.post("/jobs/purge-routes/runs", json=body, headers=key).json()["id"] == first.json()["id"]
    other = http.post("/jobs/purge-routes/runs", json=body | {"routes": ["/"]}, headers=key)
    assert "was used for run" in problem(other, 409)["failed"]
    run = finished(client, first.json())
    assert run["state"]["message"] == "1 routes read after the purge"
    assert run["service"] == "shop"


def test_a_second_change_of_the_same_service_is_refused(refreshed: Run, refused: list[httpx.Response]) -> None:
    """While a change is in flight another one, or the same, is refused at the door with the name of the first."""
    assert len(refused) == 2
    for answer in refused:
        body = problem(answer, 409)
        assert body["failed"] == f"Run {refreshed['id']} (ship-change refresh-catalogue) is in flight for shop."
        assert body["retry_is_safe"] is True


def test_a_database_elsewhere_fails_before_anything_is_touched(rolled_back: Run, client: AdminClient) -> None:
    """A change whose `from` is not where the database stands fails in its first step, with words."""
    run = finished(client, client.start("ship-change", {"change": "order-history-index"}))
    assert run["state"]["type"] == "FAILED"
    assert [step["name"] for step in run["steps"]] == ["validate"]
    assert run["failures"] == [
        {
            "step": "validate",
            "failed": "The database of shop is at 0008, not at 0007.",
            "expected": "A database at 0007, from where this change migrates.",
            "retry_is_safe": True,
        }
    ]


def test_measuring_a_service(client: AdminClient) -> None:
    """The job measures the watched routes, signed in and anonymous, and leaves its numbers."""
    run = finished(client, client.start("measure-service", {"service": "shop"}))
    assert run["state"]["name"] == "Completed", run["failures"]
    lines = run["measurements"][0]["routes"]
    assert [(line["target"]["route"], line["target"]["identity"], line["cache"]) for line in lines] == [
        ("/account", "customer", "pass"),
        ("/orders", "customer", "pass"),
        ("/products/1", "anonymous", "hit"),
    ]
    assert all(line["samples"] == 20 * 20 and line["median_ms"] >= USUAL_MS for line in lines)


def test_lists_and_unknown_runs(http: httpx.Client, kept: Run) -> None:
    """Runs are listed by job, state and service, the newest first; an unknown or ill-formed id is a clear error."""
    listed = http.get("/runs", params={"job": "ship-change", "service": "shop", "limit": 200}).json()["runs"]
    assert kept["id"] in [run["id"] for run in listed]
    assert [run["created"] for run in listed] == sorted((run["created"] for run in listed), reverse=True)
    assert {run["job"] for run in listed} == {"ship-change"}
    assert http.get("/runs", params={"service": "other"}).json()["runs"] == []
    assert problem(http.get("/runs", params={"limit": 100_000}), 422)["retry_is_safe"] is True
    unknown = "00000000-0000-0000-0000-000000000000"
    assert problem(http.get(f"/runs/{unknown}"), 404)["failed"] == f"There is no run {unknown}."
    problem(http.get("/runs/not-an-id"), 422)
    problem(http.post(f"/runs/{unknown}/rollback"), 404)


def test_the_command_line(stack: Stack) -> None:
    """The command speaks through the same door: it follows a run, tells errors in three lines, and exits by success."""

    def slipway(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [".venv/bin/slipway", *arguments]
        return subprocess.run(command, env=stack.environment, capture_output=True, text=True, timeout=600)

    purged = slipway("purge", "shop", "/products")
    assert purged.returncode == 0, purged.stdout + purged.stderr
    assert "purge routes: done in" in purged.stdout
    refused = slipway("ship", "no-such-change")
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[0] == "failed:   There is no change 'no-such-change'."
    assert refused.stderr.splitlines()[-1] == "retry is safe: yes"
    outside = slipway("purge", "shop", "/admin")
    assert outside.returncode == 1
    assert "Outside the service shop: /admin." in outside.stdout
    assert "purge-routes shop" in slipway("status").stdout
    assert slipway("doctor").returncode == 0


def test_without_a_stack_the_command_line_says_so(tmp_path: Any) -> None:
    """Where no admin service is known, or it is away, the error says what to do."""
    environment = {"PATH": "/usr/bin:/bin", "SLIPWAY_HOME": str(tmp_path)}
    ran = subprocess.run([".venv/bin/slipway", "status"], env=environment, capture_output=True, text=True)
    assert ran.returncode == 1
    assert ran.stderr.startswith("failed:   No admin service is known.\nexpected: `make up` running")
    with AdminClient("http://127.0.0.1:9") as nobody, pytest.raises(SlipwayError, match="does not answer"):
        nobody.runs(1)


def test_a_dead_part_is_started_again(stack: Stack, said: list[str], http: httpx.Client) -> None:
    """A part that is killed is started again by the supervisor, which says so."""
    part = stack.part("shop")
    assert part.process is not None
    part.process.kill()
    wait_for(lambda: any(line.startswith("shop died (exit code -9)") for line in said), "the supervisor to say so")
    wait_for(part.ready, "the shop to answer again")
    assert httpx.get(f"{stack.shop_url}/health", trust_env=False).status_code == 200


def test_a_taken_home_is_named(stack: Stack, changes: Any) -> None:
    """A second stack over the same folder is refused, and the first one goes on."""
    with pytest.raises(InvalidInput, match="Another stack runs in"):
        Stack(stack.home, changes=changes, fresh=False, say=print).start()
    assert json.loads((stack.home / "stack.json").read_text())["admin"] == stack.admin_url
