"""The synchronisation of the read model with Prefect: events, gaps, and a slow, unreachable or broken Prefect."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from slipway.admin import prefect_api, synchroniser
from slipway.admin.events import changes_of
from slipway.runs.store import Store
from tests.admin.api.full_reads import FullReads
from tests.admin.api.served import Served, problem, wait_for
from tests.played_prefect import FakePrefect


def state_of(admin: Served, run_id: str) -> str:
    """Return the name of a run's state in the list."""
    return next((str(run["state"]["name"]) for run in admin.get("/runs")["runs"] if run["id"] == run_id), "")


def subscribed(prefect: FakePrefect, admins: int = 1) -> None:
    """Wait until the admin processes have subscribed to the events."""
    wait_for(lambda: prefect.subscriptions >= admins, "the admin service to subscribe")


def test_events_update_the_list_and_the_detail(prefect: FakePrefect, admin: Served, full_reads: FullReads) -> None:
    """A run that another process starts and ends appears in the list and in its detail, with its steps."""
    subscribed(prefect)
    full_reads.hold()
    run = prefect.run("look-around", "SCHEDULED")
    prefect.move(run, "RUNNING")
    wait_for(lambda: state_of(admin, run["id"]) == "Running", "the new run in the list")
    prefect.step(run, "look")
    wait_for(lambda: admin.get(f"/runs/{run['id']}")["steps"], "the step in the detail")
    prefect.step(run, "look", "COMPLETED")
    prefect.move(run, "COMPLETED", name="Passed", message="all is well")
    wait_for(lambda: state_of(admin, run["id"]) == "Passed", "the end in the list")
    detail = wait_for(lambda: _ended(admin, run["id"]), "the end in the detail")
    assert detail["steps"][0]["state"]["type"] == "COMPLETED" and detail["steps"][0]["seconds"] is not None
    assert detail["state"]["message"] == "all is well" and detail["ended"] and detail["missing"] == []


@pytest.mark.parametrize(
    ("in_the_event", "as_read"),
    [
        ("2026-11-26T03:23:26.868323+00:00", "2026-11-26T03:23:26.868323Z"),
        ("2026-11-26T03:23:26Z", "2026-11-26T03:23:26Z"),
        ("2026-11-26T04:23:26+01:00", "2026-11-26T03:23:26Z"),
    ],
)
def test_times_of_events_have_the_format_of_the_api(in_the_event: str, as_read: str) -> None:
    """Events and responses of Prefect format times differently. After conversion, equal times are equal strings."""
    resource = {"prefect.resource.id": "prefect.flow-run.1", "prefect.state-timestamp": in_the_event}
    payload = {"validated_state": {"type": "COMPLETED", "name": "Passed"}}
    change = changes_of({"event": "prefect.flow-run.Passed", "resource": resource, "payload": payload})
    assert change is not None and change.at == as_read


def _ended(admin: Served, run_id: str) -> dict[str, object] | None:
    detail: dict[str, object] = admin.get(f"/runs/{run_id}")
    return detail if detail["ended"] else None


def test_an_older_state_does_not_replace_a_newer_one(
    prefect: FakePrefect, admin: Served, full_reads: FullReads
) -> None:
    """If an event arrives before Prefect commits its transaction, a read of the old state does not undo the event."""
    subscribed(prefect)
    full_reads.hold()
    run = prefect.run("look-around", "RUNNING")
    prefect.move(run, "RUNNING")
    wait_for(lambda: state_of(admin, run["id"]) == "Running", "the run")
    prefect.runs[run["id"]] = dict(run)  # what a read returns until the transaction is committed
    before = prefect.request_counts["/flow_runs/filter"]
    prefect.move(run, "COMPLETED", name="Passed")
    wait_for(lambda: state_of(admin, run["id"]) == "Passed", "the end")
    wait_for(lambda: prefect.request_counts["/flow_runs/filter"] >= before + 4, "reads of the old state")
    assert state_of(admin, run["id"]) == "Passed"


def test_two_processes_agree(
    prefect: FakePrefect, serve: Callable[[], Served], full_reads: FullReads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One process shows the runs that the other one starts and the jobs that the other one disables."""
    monkeypatch.setenv("SLIPWAY_TRIGGERS_PER_MINUTE", "100000")  # the last wait below starts runs until one is accepted
    one, other = serve(), serve()
    subscribed(prefect, admins=2)
    full_reads.hold()
    started = one.http.post("/jobs/look-around/runs", json={"service": "shop"})
    assert started.status_code == 202, started.text
    run_id = started.json()["id"]
    assert state_of(one, run_id) == "Scheduled"  # the caller sees the new run at once
    wait_for(lambda: state_of(other, run_id) == "Scheduled", "the run in the other process")
    one.http.patch("/jobs/look-around", json={"disabled": True, "why": "broken"})
    wait_for(lambda: other.get("/jobs/look-around")["disabled"], "the switch in the other process")
    problem(other.http.post("/jobs/look-around/runs", json={}), 409)
    one.http.patch("/jobs/look-around", json={"disabled": False})
    wait_for(lambda: other.http.post("/jobs/look-around/runs", json={}).status_code == 202, "a start there")


def test_changes_during_a_gap_are_read_afterwards(prefect: FakePrefect, admin: Served) -> None:
    """Ends, new runs and steps that happen without a subscription are read after the next one."""
    subscribed(prefect)
    run = prefect.run("look-around", "RUNNING")
    prefect.move(run, "RUNNING")
    wait_for(lambda: state_of(admin, run["id"]) == "Running", "the run")
    prefect.stop()
    prefect.move(run, "FAILED")
    prefect.step(run, "look", "FAILED")
    new = prefect.run("look-around", "RUNNING")
    prefect.start()
    wait_for(lambda: state_of(admin, run["id"]) == "Failed", "the end that no event reported")
    wait_for(lambda: state_of(admin, new["id"]) == "Running", "the run that no event reported")
    wait_for(lambda: admin.get(f"/runs/{run['id']}")["steps"], "the step that no event reported")


def test_changes_of_lost_events_are_read_at_intervals(
    prefect: FakePrefect, serve: Callable[[], Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If Prefect drops events, the next full read finds the changes."""
    monkeypatch.setattr(synchroniser, "SAFETY_EVERY_S", 0.2)
    monkeypatch.setattr(synchroniser, "SOON_S", 0.2)
    admin = serve()
    subscribed(prefect)
    prefect.mute = True
    run = prefect.run("look-around", "RUNNING")
    wait_for(lambda: state_of(admin, run["id"]) == "Running", "the run that no event reported")
    prefect.move(run, "COMPLETED")
    wait_for(lambda: state_of(admin, run["id"]) == "Completed", "the end that no event reported")


def test_without_events_the_state_is_read(
    prefect: FakePrefect, serve: Callable[[], Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a proxy that blocks websockets, the service reads the state every `SOON_S`."""

    def no_passage(*_: object) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(synchroniser, "subscribed", no_passage)
    monkeypatch.setattr(synchroniser, "SOON_S", 0.2)
    admin = serve()
    admin.get("/runs")
    run = prefect.run("look-around", "RUNNING")
    wait_for(lambda: state_of(admin, run["id"]) == "Running", "the run without events")


@pytest.mark.parametrize("how", ["away", "silent", "garbage", "wrong"])
def test_reads_continue_while_prefect_does_not_answer(
    how: str, prefect: FakePrefect, admin: Served, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reads return the last known state and its age. Triggers are a 503 with Retry-After, and a retry is safe."""
    subscribed(prefect)
    run = prefect.run("look-around", "RUNNING")
    prefect.step(run, "look")
    store.save(run["id"], "look", "Decision", {"word": "keep", "reason": "it is good"})
    prefect.move(run, "RUNNING")
    wait_for(lambda: state_of(admin, run["id"]) == "Running", "the run")
    assert admin.get(f"/runs/{run['id']}")["steps"][0]["name"] == "look"
    monkeypatch.setattr(prefect_api, "WITHIN_S", 0.5)  # no answer is expected from now on
    fail(prefect, how)
    wait_for(lambda: admin.get("/runs")["age_s"] > 1.5 or how == "silent", "the age to grow")
    listed, detail = admin.http.get("/runs"), admin.get(f"/runs/{run['id']}")
    assert [line["id"] for line in listed.json()["runs"]] == [run["id"]]
    assert detail["steps"][0]["name"] == "look" and detail["decision"]["word"] == "keep"
    assert int(listed.headers["age"]) <= listed.json()["age_s"]
    assert admin.get("/jobs")[0]["name"] == "look-around"
    for request in (f"/runs/{run['id']}/cancel", "/jobs/look-around/runs"):
        body = {"service": "shop"} if "jobs" in request else {"why": "it must"}
        answer = admin.http.post(request, json=body)
        assert problem(answer, 503)["retry_is_safe"] is True and int(answer.headers["retry-after"]) > 0
    assert admin.http.get("/ready").status_code == 503


def fail(prefect: FakePrefect, how: str) -> None:
    """Make Prefect fail from now on."""
    if how == "away":
        prefect.stop()
    elif how == "silent":
        prefect.silent = True
    else:
        prefect.garbage = b"<html>no" if how == "garbage" else b'[{"id": 7}]'
        prefect.close_subscriptions()


def test_a_service_without_prefect_starts_with_503(prefect: FakePrefect, serve: Callable[[], Served]) -> None:
    """A service that starts without Prefect answers 503, and 200 as soon as Prefect answers."""
    prefect.stop()
    admin = serve()
    answer = admin.http.get("/runs")
    assert problem(answer, 503)["retry_is_safe"] is True and "retry-after" in answer.headers
    prefect.start()
    wait_for(lambda: admin.http.get("/runs").status_code == 200, "the list after the start of Prefect")


def test_readers_cause_no_requests_to_prefect(
    prefect: FakePrefect, serve: Callable[[], Served], full_reads: FullReads
) -> None:
    """While nothing changes, no number of reads causes a request to Prefect."""
    run = prefect.run("look-around", "RUNNING")
    admin = serve()
    subscribed(prefect)
    wait_for(lambda: state_of(admin, run["id"]) == "Running", "the run")
    full_reads.hold()
    admin.get(f"/runs/{run['id']}")
    quiet = prefect.request_counts.copy()
    for _ in range(100):
        admin.get("/runs", service="shop")
        admin.get(f"/runs/{run['id']}")
    assert prefect.request_counts == quiet
