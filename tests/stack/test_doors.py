"""The HTTP API of the admin service, and the command line, on the running stack."""

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


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    """Return the problem document of a response. Check the members that RFC 9457 and our contract require."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == status
    assert {"type", "title", "detail", "failed", "expected", "retry_is_safe"} <= set(body)
    return body


def runs_in_prefect(stack: Stack) -> int:
    """Return the number of flow runs that were not created by a schedule."""
    query = {"flow_runs": {"state": {"name": {"not_any_": ["Scheduled"]}}}}
    return int(httpx.post(f"{stack.prefect_url}/api/flow_runs/count", json=query, trust_env=False).json())


def test_health_and_readiness_need_no_sign_in(http: httpx.Client) -> None:
    """The health check depends on no other service. Readiness reports missing parts. Only these two need no sign-in."""
    anonymous = {"Authorization": ""}
    assert http.get("/health", headers=anonymous).json() == {"ok": True}
    ready = http.get("/ready", headers=anonymous)
    assert (ready.status_code, ready.json()) == (200, {"ready": True, "missing": []})
    problem(http.get("/runs", headers=anonymous), 401)


def test_another_host_name_is_refused(http: httpx.Client) -> None:
    """A request with another site's host name is refused, also if that name points to 127.0.0.1."""
    assert http.get("/jobs", headers={"Host": "evil.example"}).status_code == 400


def test_jobs_have_their_cards(http: httpx.Client) -> None:
    """Every job of prefect.yaml has its card, parameters and schedules. An unknown job is a 404."""
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
def test_invalid_parameters_start_nothing(
    http: httpx.Client, stack: Stack, job: str, parameters: dict[str, Any], failed: str
) -> None:
    """An unknown, missing or ill-typed parameter is refused with a reason, and no run is created."""
    before = runs_in_prefect(stack)
    body = problem(http.post(f"/jobs/{job}/runs", json=parameters), 422)
    assert failed in body["failed"]
    assert body["retry_is_safe"] is True
    assert runs_in_prefect(stack) == before


def test_a_body_that_is_not_an_object_is_refused(http: httpx.Client) -> None:
    """A list and invalid JSON are refused as parameters."""
    assert "valid dictionary" in problem(http.post("/jobs/ship-change/runs", json=["x"]), 422)["failed"]
    headers = {"Content-Type": "application/json"}
    problem(http.post("/jobs/ship-change/runs", content=b"{", headers=headers), 422)


def test_the_same_key_is_the_same_run(http: httpx.Client, client: AdminClient, stack: Stack) -> None:
    """Requests with the same Idempotency-Key create one run. With other parameters, the key is refused."""
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
    """While a change is in flight, every other change of the service is refused, with the name of the first run."""
    assert len(refused) == 2
    for response in refused:
        body = problem(response, 409)
        assert body["failed"] == f"Run {refreshed['id']} (ship-change refresh-catalogue) is in flight for shop."
        assert body["retry_is_safe"] is True


def test_a_database_at_another_revision_fails_before_any_change(rolled_back: Run, client: AdminClient) -> None:
    """A change fails in its first step if the database is not at the revision in `from`."""
    run = finished(client, client.start("ship-change", {"change": "order-history-index"}))
    assert run["state"]["type"] == "FAILED"
    assert [step["name"] for step in run["steps"]] == ["validate"]
    assert run["failures"] == [
        {
            "step": "validate",
            "failed": "The database of shop is at revision 0008, not at 0007.",
            "expected": "The database is at revision 0007, where this change starts.",
            "retry_is_safe": True,
        }
    ]


def test_a_service_is_measured(client: AdminClient) -> None:
    """The job measures the watched routes, signed in and anonymous, and saves the results."""
    run = finished(client, client.start("measure-service", {"service": "shop"}))
    assert run["state"]["name"] == "Completed", run["failures"]
    lines = run["measurements"][0]["routes"]
    assert [(line["target"]["route"], line["target"]["identity"], line["cache"]) for line in lines] == [
        ("/account", "customer", "pass"),
        ("/orders", "customer", "pass"),
        ("/products/1", "anonymous", "hit"),
    ]
    assert all(line["samples"] == 20 * 20 and line["median_ms"] >= USUAL_MS for line in lines)


def test_runs_are_listed_and_unknown_runs_are_errors(http: httpx.Client, kept: Run) -> None:
    """Runs are listed by job, state and service, newest first. An unknown or malformed id is an error."""
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


def test_the_command_line_follows_runs_and_reports_errors(stack: Stack) -> None:
    """The command uses the same API. It follows a run, prints errors in three lines, and its exit code shows success."""

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
    assert "The service shop does not have these routes: /admin." in outside.stdout
    assert "purge-routes shop" in slipway("status").stdout
    assert slipway("doctor").returncode == 0


def test_the_command_line_reports_a_missing_admin_service(tmp_path: Any) -> None:
    """Without a known or reachable admin service, the error names the fix."""
    environment = {"PATH": "/usr/bin:/bin", "SLIPWAY_HOME": str(tmp_path)}
    result = subprocess.run([".venv/bin/slipway", "status"], env=environment, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr.startswith("failed:   The URL of the admin service is not set.\nexpected: `make up` runs")
    with AdminClient("http://127.0.0.1:9") as unreachable, pytest.raises(SlipwayError, match="does not answer"):
        unreachable.runs(1)


def test_a_dead_part_is_restarted(stack: Stack, reported: list[str], http: httpx.Client) -> None:
    """The supervisor restarts a killed part and reports that."""
    part = stack.part("shop")
    assert part.process is not None
    part.process.kill()
    wait_for(
        lambda: any(line.startswith("shop died (exit code -9)") for line in reported), "the supervisor to report it"
    )
    wait_for(part.ready, "the shop to answer again")
    assert httpx.get(f"{stack.shop_url}/health", trust_env=False).status_code == 200


def test_a_second_stack_in_the_same_folder_is_refused(stack: Stack, changes: Any) -> None:
    """A second stack in the same folder is refused, and the first one continues."""
    with pytest.raises(InvalidInput, match="Another stack runs in"):
        Stack(stack.home, changes=changes, fresh=False, report=print).start()
    assert json.loads((stack.home / "stack.json").read_text())["admin"] == stack.admin_url
