"""The HTTP contract: switches, retries, logs, limits, and errors as problem documents."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from slipway.accounts.grants import Grant
from slipway.accounts.tokens import Tokens
from slipway.admin import limits, prefect_api, single_flight
from slipway.admin.limits import LARGEST_BODY, Rate
from slipway.admin.problems import TooMany
from slipway.runs.store import Store
from tests.admin.api.served import WITHIN_S, Served, problem, wait_for
from tests.admin.clock import Clock
from tests.played_prefect import FakePrefect

START = "/jobs/look-around/runs"


def failure(store: Store, run: dict[str, Any], *, safe: bool) -> None:
    """Save a failure as an outcome of a step of the run."""
    store.save(run["id"], "look failed", "Failure", {"failed": "No.", "expected": "Yes.", "retry_is_safe": safe})


def test_paused_switches_the_schedules_only(prefect: FakePrefect, admin: Served) -> None:
    """`paused` switches the schedules in Prefect off and on. Runs can still be started."""
    assert admin.http.patch("/jobs/look-around", json={"paused": True}).json()["paused"] is True
    assert prefect.jobs["look-around"]["paused"] is True
    assert admin.http.post(START, json={}).status_code == 202
    assert admin.http.patch("/jobs/look-around", json={"paused": False}).json()["paused"] is False
    assert prefect.jobs["look-around"]["paused"] is False


def test_schedules_switched_in_prefect_are_switched_back(prefect: FakePrefect, admin: Served) -> None:
    """The service sends the switch to Prefect even if its cached job already has the requested state."""
    assert admin.http.get("/jobs/look-around").json()["paused"] is False
    prefect.jobs["look-around"]["paused"] = True
    assert admin.http.patch("/jobs/look-around", json={"paused": False}).json()["paused"] is False
    assert prefect.jobs["look-around"]["paused"] is False


def test_a_read_that_began_before_the_switch_is_not_cached(
    prefect: FakePrefect, admin: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The response to a switch has Prefect's newest state, even if an older read has not ended."""
    jobs = admin.container.jobs
    read, may_answer, requested = jobs._prefect.jobs, threading.Event(), threading.Event()

    async def late() -> list[Any]:
        deployments = await read()
        monkeypatch.setattr(jobs._prefect, "jobs", read)
        requested.set()
        await asyncio.to_thread(may_answer.wait, WITHIN_S)
        return deployments

    assert admin.http.get("/jobs/look-around").json()["paused"] is False
    monkeypatch.setattr(jobs._prefect, "jobs", late)
    monkeypatch.setattr("slipway.admin.jobs.FRESH_S", 0.0)  # the next request starts a read in the background,
    monkeypatch.setattr("slipway.admin.jobs.SERVED_S", float("inf"))  # and does not wait for the read
    assert admin.http.get("/jobs/look-around").json()["paused"] is False
    assert requested.wait(60)
    assert admin.http.patch("/jobs/look-around", json={"paused": True}).json()["paused"] is True
    may_answer.set()
    wait_for(lambda: not jobs._refreshes, "the older read to end")
    assert admin.http.get("/jobs/look-around").json()["paused"] is True


def test_a_disabled_job_cannot_be_started(admin: Served) -> None:
    """The error says who disabled the job, when and why. After the job is enabled, it starts again."""
    switched = admin.http.patch("/jobs/look-around", json={"disabled": True, "why": "it breaks things"})
    assert switched.json()["disabled"]["by"] == "ada" and switched.json()["paused"] is False
    failed = problem(admin.http.post(START, json={}), 409)["failed"]
    assert failed.startswith("The job look-around has been disabled since 20")
    assert failed.endswith("by ada: it breaks things")
    admin.http.patch("/jobs/look-around", json={"disabled": True, "why": "no"})
    assert admin.get("/jobs/look-around")["disabled"]["why"] == "it breaks things"  # the first reason stays
    assert admin.http.patch("/jobs/look-around", json={"disabled": False}).json()["disabled"] is None
    assert admin.http.post(START, json={}).status_code == 202


def test_an_invalid_switch_is_refused(admin: Served) -> None:
    """An empty or malformed switch is a 422, an unknown job a 404."""
    for body in ({}, {"paused": None}, {"enabled": True}, {"paused": "maybe"}, [], None):
        problem(admin.http.patch("/jobs/look-around", json=body), 422)
    problem(admin.http.patch("/jobs/nope", json={"paused": True}), 404)


@pytest.mark.parametrize(
    "value",
    [
        {"__prefect_kind": "workspace_variable", "variable_name": "of-another-user"},
        [1, {"deep": [{"__prefect_kind": "jinja", "template": "{{ 1 }}"}]}],
        {"__prefect_kind": None},
    ],
)
def test_a_template_in_a_parameter_is_refused(prefect: FakePrefect, admin: Served, value: object) -> None:
    """Prefect would replace the template after all our checks."""
    prefect.job("anything", anything={})
    before = len(prefect.runs)
    refused = problem(admin.http.post("/jobs/anything/runs", json={"anything": value}), 422)
    assert refused["failed"] == "anything: '__prefect_kind' is not allowed."
    assert len(prefect.runs) == before
    as_values = {"anything": [{"kind": "__prefect_kind"}, "__prefect_kind"]}
    started = admin.http.post("/jobs/anything/runs", json=as_values)
    assert (started.status_code, started.json()["parameters"]) == (202, as_values)


def test_a_retry_starts_the_same_job_once_per_key(prefect: FakePrefect, admin: Served, store: Store) -> None:
    """The new run has the same job and parameters, and the Location header has its URL."""
    run = prefect.run("look-around", "FAILED", ago_s=60, parameters={"service": "shop"})
    failure(store, run, safe=True)
    answers = [admin.http.post(f"/runs/{run['id']}/retry", headers={"Idempotency-Key": "again"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    again = answers[0].json()
    assert answers[0].headers["location"] == f"/runs/{again['id']}" and again["id"] == answers[1].json()["id"]
    assert (again["job"], again["parameters"], again["service"]) == ("look-around", {"service": "shop"}, "shop")
    other = prefect.run("look-around", "CANCELLED", ago_s=60)
    refused = admin.http.post(f"/runs/{other['id']}/retry", headers={"Idempotency-Key": "again"})
    assert "with other parameters" in problem(refused, 409)["failed"]


@pytest.mark.parametrize(
    ("state", "name", "safe", "words"),
    [
        ("RUNNING", "", True, "is Running."),
        ("CRASHED", "", True, "is Crashed."),
        ("COMPLETED", "Frozen", True, "before a person has checked it: it ended as Frozen."),
        ("FAILED", "", False, "before a person has checked it: look must not be repeated."),
    ],
)
def test_an_unsafe_retry_is_refused(
    prefect: FakePrefect, admin: Served, store: Store, state: str, name: str, safe: bool, words: str
) -> None:
    """A run that has not ended, that needs a person, or that failed in a step that must not be repeated."""
    run = prefect.run("look-around", state, name=name, ago_s=60)
    failure(store, run, safe=safe)
    before = len(prefect.runs)
    assert words in problem(admin.http.post(f"/runs/{run['id']}/retry"), 409)["failed"]
    assert len(prefect.runs) == before


def test_logs_page_by_page(prefect: FakePrefect, admin: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line is on one page, in order, even lines of one moment and later lines. Many readers cause one request."""
    clock = Clock()
    monkeypatch.setattr(single_flight, "time", clock)
    run = prefect.run("look-around", "RUNNING")
    moment = datetime.now(UTC).isoformat()
    for number in range(12):
        prefect.log(run, f"line {number}", moment if 3 <= number < 9 else None)
    lines, page = [], admin.get(f"/runs/{run['id']}/logs", limit=5)
    while True:
        lines += [line["message"] for line in page["logs"]]
        if not page["more"]:
            break
        page = admin.get(f"/runs/{run['id']}/logs", limit=5, after=page["next"])
    assert sorted(lines) == sorted(f"line {number}" for number in range(12))
    assert page["logs"][-1]["level"] == "info"
    prefect.log(run, "later")
    clock.forward(2)
    later = admin.get(f"/runs/{run['id']}/logs", after=page["next"])["logs"]
    assert [line["message"] for line in later] == ["later"]
    before = prefect.request_counts["/logs/filter"]
    for _ in range(30):
        admin.get(f"/runs/{run['id']}/logs")
    assert prefect.request_counts["/logs/filter"] - before == 1
    problem(admin.http.get(f"/runs/{run['id']}/logs", params={"after": "x"}), 422)
    assert "line 0" in admin.http.get(f"/pages/runs/{run['id']}/logs").text


def test_a_body_that_is_too_large_is_refused(prefect: FakePrefect, admin: Served) -> None:
    """The response is 413 with and without a Content-Length, and no run is started."""

    def chunks() -> Iterator[bytes]:
        yield b'{"service": "'
        for _ in range(LARGEST_BODY // 1_000 + 1):
            yield b"x" * 1_000

    whole = b"".join(chunks())
    for content in (whole, chunks()):
        answer = admin.http.post(START, content=content, headers={"Content-Type": "application/json"})
        assert problem(answer, 413)["failed"] == "The body has more than 262,144 bytes."
    assert prefect.runs == {}


def test_too_many_triggers_are_refused(
    serve: Callable[[], Served], monkeypatch: pytest.MonkeyPatch, prefect: FakePrefect
) -> None:
    """More triggers than the limit are a 429 with Retry-After. Reads still work."""
    clock = Clock()
    monkeypatch.setattr(limits, "time", clock)
    monkeypatch.setenv("SLIPWAY_TRIGGERS_PER_MINUTE", "3")
    admin = serve()
    assert [admin.http.post(START, json={}).status_code for _ in range(3)] == [202] * 3
    answer = admin.http.post(START, json={})
    assert problem(answer, 429)["retry_is_safe"] is True and answer.headers["retry-after"] == "20"
    assert len(prefect.runs) == 3 and admin.get("/runs")["runs"]
    clock.forward(20)
    assert [admin.http.post(START, json={}).status_code for _ in range(2)] == [202, 429]


def test_each_caller_has_a_separate_rate_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller over the limit does not affect other callers."""
    monkeypatch.setattr(limits, "time", Clock())
    rate = Rate(2)
    rate.take("ada"), rate.take("ada")
    with pytest.raises(TooMany, match="ada starts more than 2 runs per minute"):
        rate.take("ada")
    rate.take("eve")


def test_unknown_paths_and_methods_are_problems(admin: Served) -> None:
    """The response to a wrong method has an Allow header."""
    problem(admin.http.get("/nothing"), 404)
    answer = admin.http.delete("/runs")
    assert problem(answer, 405)["title"] == "Method not allowed" and answer.headers["allow"] == "GET"


def test_a_bug_of_the_service_is_a_problem(admin: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A retry is not safe, because the effect is unknown. The log has the cause, not the response."""

    async def fail(*_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(admin.container.jobs, "all", fail)
    answer = admin.http.get("/jobs")
    assert problem(answer, 500)["retry_is_safe"] is False and "secret" not in answer.text


def test_a_start_that_prefect_did_not_answer_creates_one_run(
    prefect: FakePrefect, admin: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prefect may have created the run. The same request, even without a key, returns that run."""
    admin.get("/jobs")
    monkeypatch.setattr(prefect_api, "WITHIN_S", 0.3)
    prefect.silent = True

    def start_unanswered() -> bool:
        assert problem(admin.http.post(START, json={"service": "shop"}), 503)["retry_is_safe"] is True
        return bool(prefect.runs)

    wait_for(start_unanswered, "Prefect to create the run")  # a slow machine may give up before it has sent the request
    prefect.silent = False
    monkeypatch.setattr(prefect_api, "WITHIN_S", WITHIN_S)
    answer = admin.http.post(START, json={"service": "shop"})
    assert answer.status_code == 202 and [answer.json()["id"]] == list(prefect.runs)
    assert admin.http.post(START, json={"service": "shop"}).json()["id"] != answer.json()["id"]


def test_location_includes_the_mount_prefix(settings: None) -> None:
    """If the service is mounted under a prefix, the Location header includes the prefix."""
    with Served(root_path="/ops") as admin:
        started = admin.http.post(START, json={})
        assert started.headers["location"] == f"/ops/runs/{started.json()['id']}"


def test_a_response_has_its_age(serve: Callable[[], Served]) -> None:
    """The age is in JSON members and in the Age header. The data is not older than the service."""
    began = time.monotonic()
    answer = serve().http.get("/runs")
    body, header = answer.json(), int(answer.headers["age"])
    assert body["age_s"] <= time.monotonic() - began + 0.1  # the member is rounded to tenths
    assert header <= body["age_s"] <= header + 1
    assert datetime.fromisoformat(body["as_of"]).tzinfo is not None


def test_two_keys_are_two_runs(admin: Served) -> None:
    """A key creates one run, another key another run. The same key with another body creates none."""

    def start(key: str, body: dict[str, str]) -> httpx.Response:
        return admin.http.post(START, json=body, headers={"Idempotency-Key": key})

    first = start("one", {}).json()["id"]
    assert start("one", {}).json()["id"] == first != start("two", {}).json()["id"]
    problem(start("one", {"service": "shop"}), 409)
    problem(start("with space", {}), 422)


def test_a_repeated_request_keeps_the_first_requester(admin: Served) -> None:
    """If another user repeats a request with the same key, the run of the first user is returned, unchanged."""
    key = {"Idempotency-Key": "twice"}
    first = admin.http.post(START, json={}, headers=key).json()["id"]
    robot, _ = Tokens(admin.container.store).make(
        f"robot-{first}"[:40], Grant(role="operator"), timedelta(days=1), account=None
    )
    again = admin.http.post(START, json={}, headers={**key, "Authorization": f"Bearer {robot}"})
    assert (again.status_code, again.json()["id"]) == (202, first)
    assert admin.get(f"/runs/{first}")["asked_by"] == "ada"
