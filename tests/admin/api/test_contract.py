"""The rest of the HTTP contract: switches, retries, logs, limits, and errors that are problem documents."""

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
from tests.played_prefect import PlayedPrefect

START = "/jobs/look-around/runs"


def failure(store: Store, run: dict[str, Any], *, safe: bool) -> None:
    """A step of the run has left a failure behind."""
    store.keep(run["id"], "look failed", "Failure", {"failed": "No.", "expected": "Yes.", "retry_is_safe": safe})


def test_schedules_are_switched(prefect: PlayedPrefect, admin: Served) -> None:
    """`paused` switches the schedules in Prefect off and on, and says nothing of the job itself."""
    assert admin.http.patch("/jobs/look-around", json={"paused": True}).json()["paused"] is True
    assert prefect.jobs["look-around"]["paused"] is True
    assert admin.http.post(START, json={}).status_code == 202
    assert admin.http.patch("/jobs/look-around", json={"paused": False}).json()["paused"] is False
    assert prefect.jobs["look-around"]["paused"] is False


def test_schedules_that_were_switched_in_prefect(prefect: PlayedPrefect, admin: Served) -> None:
    """The service switches them as it is asked, even if it remembers the job as it was before."""
    assert admin.http.get("/jobs/look-around").json()["paused"] is False
    prefect.jobs["look-around"]["paused"] = True
    assert admin.http.patch("/jobs/look-around", json={"paused": False}).json()["paused"] is False
    assert prefect.jobs["look-around"]["paused"] is False


def test_a_read_that_began_before_the_switch(
    prefect: PlayedPrefect, admin: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to a switch is as Prefect has the job then, though an older read is still on its way."""
    jobs = admin.container.jobs
    read, may_answer, asked = jobs._prefect.jobs, threading.Event(), threading.Event()

    async def late() -> list[Any]:
        found = await read()
        monkeypatch.setattr(jobs._prefect, "jobs", read)
        asked.set()
        await asyncio.to_thread(may_answer.wait, WITHIN_S)
        return found

    assert admin.http.get("/jobs/look-around").json()["paused"] is False
    monkeypatch.setattr(jobs._prefect, "jobs", late)
    monkeypatch.setattr("slipway.admin.jobs.FRESH_S", 0.0)  # the next request has the jobs read in the background,
    monkeypatch.setattr("slipway.admin.jobs.SERVED_S", float("inf"))  # and does not wait for that
    assert admin.http.get("/jobs/look-around").json()["paused"] is False
    assert asked.wait(60)
    assert admin.http.patch("/jobs/look-around", json={"paused": True}).json()["paused"] is True
    may_answer.set()
    wait_for(lambda: not jobs._later, "the older read to end")
    assert admin.http.get("/jobs/look-around").json()["paused"] is True


def test_a_job_is_disabled(admin: Served) -> None:
    """A disabled job starts by no door, and the refusal says who, why and since when; enabled it starts again."""
    switched = admin.http.patch("/jobs/look-around", json={"disabled": True, "why": "it breaks things"})
    assert switched.json()["disabled"]["by"] == "ada" and switched.json()["paused"] is False
    told = problem(admin.http.post(START, json={}), 409)["failed"]
    assert told.startswith("The job look-around is disabled since 20") and told.endswith("by ada: it breaks things")
    admin.http.patch("/jobs/look-around", json={"disabled": True, "why": "no"})
    assert admin.get("/jobs/look-around")["disabled"]["why"] == "it breaks things"  # as who did it first said
    assert admin.http.patch("/jobs/look-around", json={"disabled": False}).json()["disabled"] is None
    assert admin.http.post(START, json={}).status_code == 202


def test_a_switch_that_says_nothing(admin: Served) -> None:
    """It is refused in words, and so is a job that is not there."""
    for body in ({}, {"paused": None}, {"enabled": True}, {"paused": "maybe"}, [], None):
        problem(admin.http.patch("/jobs/look-around", json=body), 422)
    problem(admin.http.patch("/jobs/nope", json={"paused": True}), 404)


@pytest.mark.parametrize(
    "value",
    [
        {"__prefect_kind": "workspace_variable", "variable_name": "of-somebody-else"},
        [1, {"deep": [{"__prefect_kind": "jinja", "template": "{{ 1 }}"}]}],
        {"__prefect_kind": None},
    ],
)
def test_what_prefect_would_fill_in(prefect: PlayedPrefect, admin: Served, value: object) -> None:
    """A parameter is what it says: nobody starts a run with what Prefect puts in its place behind all checks."""
    prefect.job("anything", anything={})
    before = len(prefect.runs)
    refused = problem(admin.http.post("/jobs/anything/runs", json={"anything": value}), 422)
    assert refused["failed"] == "anything: '__prefect_kind' is refused."
    assert len(prefect.runs) == before
    spoken_of = {"anything": [{"kind": "__prefect_kind"}, "__prefect_kind"]}
    started = admin.http.post("/jobs/anything/runs", json=spoken_of)
    assert (started.status_code, started.json()["parameters"]) == (202, spoken_of)


def test_a_retry(prefect: PlayedPrefect, admin: Served, store: Store) -> None:
    """The same job starts with the same parameters, once for a key; the answer says where."""
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
        ("COMPLETED", "Frozen", True, "it ended as Frozen before a person has looked"),
        ("FAILED", "", False, "look must not be repeated before a person has looked"),
    ],
)
def test_a_retry_that_is_refused(
    prefect: PlayedPrefect, admin: Served, store: Store, state: str, name: str, safe: bool, words: str
) -> None:
    """What is not over, what waits for a person, and what failed in a way that is not safe to repeat."""
    run = prefect.run("look-around", state, name=name, ago_s=60)
    failure(store, run, safe=safe)
    before = len(prefect.runs)
    assert words in problem(admin.http.post(f"/runs/{run['id']}/retry"), 409)["failed"]
    assert len(prefect.runs) == before


def test_logs_page_by_page(prefect: PlayedPrefect, admin: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line once, in order, also those of one moment, and those that come later; many readers cause one request."""
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
    asked = prefect.asked["/logs/filter"]
    for _ in range(30):
        admin.get(f"/runs/{run['id']}/logs")
    assert prefect.asked["/logs/filter"] - asked == 1
    problem(admin.http.get(f"/runs/{run['id']}/logs", params={"after": "x"}), 422)
    assert "line 0" in admin.http.get(f"/pages/runs/{run['id']}/logs").text


def test_a_body_that_is_too_large(prefect: PlayedPrefect, admin: Served) -> None:
    """It is refused with and without its length given, and nothing is started."""

    def chunks() -> Iterator[bytes]:
        yield b'{"service": "'
        for _ in range(LARGEST_BODY // 1_000 + 1):
            yield b"x" * 1_000

    whole = b"".join(chunks())
    for content in (whole, chunks()):
        answer = admin.http.post(START, content=content, headers={"Content-Type": "application/json"})
        assert problem(answer, 413)["failed"] == "The body has more than 262,144 bytes."
    assert prefect.runs == {}


def test_too_many_triggers(
    serve: Callable[[], Served], monkeypatch: pytest.MonkeyPatch, prefect: PlayedPrefect
) -> None:
    """So many a minute, and then a refusal that says when; reads go on."""
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


def test_a_rate_is_for_each_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    """One who asks too often takes nothing from the others."""
    monkeypatch.setattr(limits, "time", Clock())
    rate = Rate(2)
    rate.take("ada"), rate.take("ada")
    with pytest.raises(TooMany, match="ada starts more than 2 runs a minute"):
        rate.take("ada")
    rate.take("eve")


def test_what_is_not_there_is_a_problem(admin: Served) -> None:
    """So is a method that a path does not take, with those that it does."""
    problem(admin.http.get("/nothing"), 404)
    answer = admin.http.delete("/runs")
    assert problem(answer, 405)["title"] == "Method not allowed" and answer.headers["allow"] == "GET"


def test_a_fault_of_ours_is_a_problem(admin: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can say what was done, so a retry is not called safe; what happened is in the log, not in the answer."""

    async def fail(*_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(admin.container.jobs, "all", fail)
    answer = admin.http.get("/jobs")
    assert problem(answer, 500)["retry_is_safe"] is False and "secret" not in answer.text


def test_a_start_that_prefect_left_unanswered(
    prefect: PlayedPrefect, admin: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run may have been made: the same request again, also without a key, gets that run and no second one."""
    admin.get("/jobs")
    monkeypatch.setattr(prefect_api, "WITHIN_S", 0.3)
    prefect.silent = True

    def start_unanswered() -> bool:
        assert problem(admin.http.post(START, json={"service": "shop"}), 503)["retry_is_safe"] is True
        return bool(prefect.runs)

    wait_for(start_unanswered, "Prefect to make the run")  # a slow machine may give up before it has sent the request
    prefect.silent = False
    monkeypatch.setattr(prefect_api, "WITHIN_S", WITHIN_S)
    answer = admin.http.post(START, json={"service": "shop"})
    assert answer.status_code == 202 and [answer.json()["id"]] == list(prefect.runs)
    assert admin.http.post(START, json={"service": "shop"}).json()["id"] != answer.json()["id"]


def test_links_below_another_app(settings: None) -> None:
    """Where the service is mounted below a path, so are the places that it names."""
    with Served(root_path="/ops") as admin:
        started = admin.http.post(START, json={})
        assert started.headers["location"] == f"/ops/runs/{started.json()['id']}"


def test_an_answer_says_how_old_it_is(serve: Callable[[], Served]) -> None:
    """As members, and as the header that caches know: no older than the service, which has read Prefect since."""
    began = time.monotonic()
    answer = serve().http.get("/runs")
    told, header = answer.json(), int(answer.headers["age"])
    assert told["age_s"] <= time.monotonic() - began + 0.1  # the member is rounded to tenths
    assert header <= told["age_s"] <= header + 1
    assert datetime.fromisoformat(told["as_of"]).tzinfo is not None


def test_two_keys_are_two_runs(admin: Served) -> None:
    """A key makes one run; another key, another one; the same key with another body, none."""

    def start(key: str, body: dict[str, str]) -> httpx.Response:
        return admin.http.post(START, json=body, headers={"Idempotency-Key": key})

    one = start("one", {}).json()["id"]
    assert start("one", {}).json()["id"] == one != start("two", {}).json()["id"]
    problem(start("one", {"service": "shop"}), 409)
    problem(start("with space", {}), 422)


def test_who_asked_first_stands(admin: Served) -> None:
    """A repeat of the request by somebody else answers with the run of the first, who stays the one who asked."""
    key = {"Idempotency-Key": "twice"}
    first = admin.http.post(START, json={}, headers=key).json()["id"]
    robot, _ = Tokens(admin.container.store).make(
        f"robot-{first}"[:40], Grant(role="operator"), timedelta(days=1), account=None
    )
    again = admin.http.post(START, json={}, headers={**key, "Authorization": f"Bearer {robot}"})
    assert (again.status_code, again.json()["id"]) == (202, first)
    assert admin.get(f"/runs/{first}")["asked_by"] == "ada"
