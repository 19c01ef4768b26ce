"""The read model in step with Prefect: events, gaps, and a Prefect that is slow, away, or talks nonsense."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from slipway.admin import prefect_api, synchroniser
from slipway.admin.events import changes_of
from slipway.runs.store import Store
from tests.admin.api.full_reads import FullReads
from tests.admin.api.served import Served, problem, wait_for
from tests.played_prefect import PlayedPrefect


def state_of(admin: Served, run_id: str) -> str:
    """A run's state in the list."""
    return next((str(run["state"]["name"]) for run in admin.get("/runs")["runs"] if run["id"] == run_id), "")


def subscribed(prefect: PlayedPrefect, admins: int = 1) -> None:
    """Wait until the processes hear the events and have read once more since."""
    wait_for(lambda: prefect.subscriptions >= admins, "the admin service to subscribe")


def test_an_event_is_seen(prefect: PlayedPrefect, admin: Served, full_reads: FullReads) -> None:
    """A run that begins and ends elsewhere is in the list and in its detail, with its steps, as the events tell."""
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
    shown = wait_for(lambda: _ended(admin, run["id"]), "the end in the detail")
    assert shown["steps"][0]["state"]["type"] == "COMPLETED" and shown["steps"][0]["seconds"] is not None
    assert shown["state"]["message"] == "all is well" and shown["ended"] and shown["missing"] == []


@pytest.mark.parametrize(
    ("in_the_event", "as_read"),
    [
        ("2026-11-26T03:23:26.868323+00:00", "2026-11-26T03:23:26.868323Z"),
        ("2026-11-26T03:23:26Z", "2026-11-26T03:23:26Z"),
        ("2026-11-26T04:23:26+01:00", "2026-11-26T03:23:26Z"),
    ],
)
def test_a_moment_is_told_in_one_way(in_the_event: str, as_read: str) -> None:
    """An event writes it otherwise than an answer does: who compares the two must find them equal."""
    resource = {"prefect.resource.id": "prefect.flow-run.1", "prefect.state-timestamp": in_the_event}
    payload = {"validated_state": {"type": "COMPLETED", "name": "Passed"}}
    told = changes_of({"event": "prefect.flow-run.Passed", "resource": resource, "payload": payload})
    assert told is not None and told.at == as_read


def _ended(admin: Served, run_id: str) -> dict[str, object] | None:
    shown: dict[str, object] = admin.get(f"/runs/{run_id}")
    return shown if shown["ended"] else None


def test_an_older_state_never_comes_back(prefect: PlayedPrefect, admin: Served, full_reads: FullReads) -> None:
    """An event that is faster than the transaction it tells of is not undone by a read of the state before."""
    subscribed(prefect)
    full_reads.hold()
    run = prefect.run("look-around", "RUNNING")
    prefect.move(run, "RUNNING")
    wait_for(lambda: state_of(admin, run["id"]) == "Running", "the run")
    prefect.runs[run["id"]] = dict(run)  # what a read finds until the transaction is over
    asked = prefect.asked["/flow_runs/filter"]
    prefect.move(run, "COMPLETED", name="Passed")
    wait_for(lambda: state_of(admin, run["id"]) == "Passed", "the end")
    wait_for(lambda: prefect.asked["/flow_runs/filter"] >= asked + 4, "reads of the state before")
    assert state_of(admin, run["id"]) == "Passed"


def test_two_processes_agree(
    prefect: PlayedPrefect, serve: Callable[[], Served], full_reads: FullReads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one process starts, pauses and disables the other one shows."""
    monkeypatch.setenv("SLIPWAY_TRIGGERS_PER_MINUTE", "100000")  # the last wait below starts runs until one is accepted
    one, other = serve(), serve()
    subscribed(prefect, admins=2)
    full_reads.hold()
    started = one.http.post("/jobs/look-around/runs", json={"service": "shop"})
    assert started.status_code == 202, started.text
    run_id = started.json()["id"]
    assert state_of(one, run_id) == "Scheduled"  # who has acted sees it at once
    wait_for(lambda: state_of(other, run_id) == "Scheduled", "the run in the other process")
    one.http.patch("/jobs/look-around", json={"disabled": True, "why": "broken"})
    wait_for(lambda: other.get("/jobs/look-around")["disabled"], "the switch in the other process")
    problem(other.http.post("/jobs/look-around/runs", json={}), 409)
    one.http.patch("/jobs/look-around", json={"disabled": False})
    wait_for(lambda: other.http.post("/jobs/look-around/runs", json={}).status_code == 202, "a start there")


def test_a_gap_is_made_good(prefect: PlayedPrefect, admin: Served) -> None:
    """What happens while there is no subscription is there after the next one: ends, new runs, and steps."""
    subscribed(prefect)
    run = prefect.run("look-around", "RUNNING")
    prefect.move(run, "RUNNING")
    wait_for(lambda: state_of(admin, run["id"]) == "Running", "the run")
    prefect.go()
    prefect.move(run, "FAILED")
    prefect.step(run, "look", "FAILED")
    new = prefect.run("look-around", "RUNNING")
    prefect.come()
    wait_for(lambda: state_of(admin, run["id"]) == "Failed", "the end that nobody told")
    wait_for(lambda: state_of(admin, new["id"]) == "Running", "the run that nobody told")
    wait_for(lambda: admin.get(f"/runs/{run['id']}")["steps"], "the step that nobody told")


def test_lost_events_are_made_good(
    prefect: PlayedPrefect, serve: Callable[[], Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events that get lost on the way are no harm for long: the state is read every now and then, too."""
    monkeypatch.setattr(synchroniser, "SAFETY_EVERY_S", 0.2)
    monkeypatch.setattr(synchroniser, "SOON_S", 0.2)
    admin = serve()
    subscribed(prefect)
    prefect.mute = True
    run = prefect.run("look-around", "RUNNING")
    wait_for(lambda: state_of(admin, run["id"]) == "Running", "the run that nobody told")
    prefect.move(run, "COMPLETED")
    wait_for(lambda: state_of(admin, run["id"]) == "Completed", "the end that nobody told")


def test_without_events_the_state_is_read(
    prefect: PlayedPrefect, serve: Callable[[], Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a proxy lets no websocket pass, the service reads lists again every `SOON_S`."""

    def no_passage(*_: object) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(synchroniser, "subscribed", no_passage)
    monkeypatch.setattr(synchroniser, "SOON_S", 0.2)
    admin = serve()
    admin.get("/runs")
    run = prefect.run("look-around", "RUNNING")
    wait_for(lambda: state_of(admin, run["id"]) == "Running", "the run without events")


@pytest.mark.parametrize("how", ["away", "silent", "garbage", "wrong"])
def test_prefect_does_not_answer(
    how: str, prefect: PlayedPrefect, admin: Served, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reads answer from what is known and say how old it is; triggers say 503, that a retry is safe, and when."""
    subscribed(prefect)
    run = prefect.run("look-around", "RUNNING")
    prefect.step(run, "look")
    store.keep(run["id"], "look", "Decision", {"word": "keep", "reason": "it is good"})
    prefect.move(run, "RUNNING")
    wait_for(lambda: state_of(admin, run["id"]) == "Running", "the run")
    assert admin.get(f"/runs/{run['id']}")["steps"][0]["name"] == "look"
    monkeypatch.setattr(prefect_api, "WITHIN_S", 0.5)  # no answer is expected from now on
    fail(prefect, how)
    wait_for(lambda: admin.get("/runs")["age_s"] > 1.5 or how == "silent", "the age to be told")
    listed, shown = admin.http.get("/runs"), admin.get(f"/runs/{run['id']}")
    assert [found["id"] for found in listed.json()["runs"]] == [run["id"]]
    assert shown["steps"][0]["name"] == "look" and shown["decision"]["word"] == "keep"
    assert int(listed.headers["age"]) <= listed.json()["age_s"]
    assert admin.get("/jobs")[0]["name"] == "look-around"
    for request in (f"/runs/{run['id']}/cancel", "/jobs/look-around/runs"):
        body = {"service": "shop"} if "jobs" in request else {"why": "it must"}
        answer = admin.http.post(request, json=body)
        assert problem(answer, 503)["retry_is_safe"] is True and int(answer.headers["retry-after"]) > 0
    assert admin.http.get("/ready").status_code == 503


def fail(prefect: PlayedPrefect, how: str) -> None:
    """Have it answer badly from now on."""
    if how == "away":
        prefect.go()
    elif how == "silent":
        prefect.silent = True
    else:
        prefect.garbage = b"<html>no" if how == "garbage" else b'[{"id": 7}]'
        prefect.hang_up()


def test_nothing_known_yet(prefect: PlayedPrefect, serve: Callable[[], Served]) -> None:
    """A service that starts while Prefect is away says so, and serves as soon as it is there."""
    prefect.go()
    admin = serve()
    answer = admin.http.get("/runs")
    assert problem(answer, 503)["retry_is_safe"] is True and "retry-after" in answer.headers
    prefect.come()
    wait_for(lambda: admin.http.get("/runs").status_code == 200, "the list once Prefect is there")


def test_readers_cost_prefect_nothing(
    prefect: PlayedPrefect, serve: Callable[[], Served], full_reads: FullReads
) -> None:
    """However many read, Prefect is asked the same: nothing, while nothing happens."""
    run = prefect.run("look-around", "RUNNING")
    admin = serve()
    subscribed(prefect)
    wait_for(lambda: state_of(admin, run["id"]) == "Running", "the run")
    full_reads.hold()
    admin.get(f"/runs/{run['id']}")
    quiet = prefect.asked.copy()
    for _ in range(100):
        admin.get("/runs", service="shop")
        admin.get(f"/runs/{run['id']}")
    assert prefect.asked == quiet
