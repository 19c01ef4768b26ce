"""Pages of runs: stable while new runs arrive, bounded, and continued with older runs from Prefect."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from slipway.admin import read_model, single_flight, synchroniser
from slipway.admin.read_model import OVER, ReadModel
from tests.admin.api.full_reads import FullReads
from tests.admin.api.served import Served, problem, wait_for
from tests.admin.clock import Clock
from tests.played_prefect import FakePrefect, now

DAY = 86_400.0


def ids_of(page: dict[str, Any]) -> list[str]:
    """Return the ids of a page."""
    return [run["id"] for run in page["runs"]]


def walk(admin: Served, **query: Any) -> list[str]:
    """Return all ids, read page by page."""
    page = admin.get("/runs", **query)
    ids = ids_of(page)
    while page["next"]:
        page = admin.get("/runs", **query, cursor=page["next"])
        ids += ids_of(page)
    return ids


def test_pages_are_stable_while_runs_arrive(prefect: FakePrefect, serve: Callable[[], Served]) -> None:
    """Each run of the last seven days is on one page, newest first, even if new runs start between the pages."""
    old = [prefect.run("look-around", "COMPLETED", ago_s=60 + number)["id"] for number in range(7)]
    prefect.run("look-around", "COMPLETED", ago_s=8 * DAY)
    admin = serve()
    page = admin.get("/runs", limit=3)
    ids = ids_of(page)
    new = admin.http.post("/jobs/look-around/runs", json={}).json()["id"]
    while page["next"]:
        page = admin.get("/runs", limit=3, cursor=page["next"])
        ids += ids_of(page)
    assert ids == old
    assert ids_of(admin.get("/runs", limit=1)) == [new]


def test_runs_older_than_the_model_are_read_from_prefect(
    prefect: FakePrefect, serve: Callable[[], Served], full_reads: FullReads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Older runs are in order and each is listed once, even runs of one moment. Many readers cause one request."""
    monkeypatch.setattr(synchroniser, "MAX_RUNS", 200)
    monkeypatch.setattr(read_model, "MAX_RUNS", 200)
    monkeypatch.setattr(
        single_flight, "time", Clock()
    )  # a response of Prefect stays fresh, however long the reads take
    moment = now(900)
    same = [prefect.run("look-around", "COMPLETED", expected_start_time=moment)["id"] for _ in range(30)]
    made = {prefect.run("look-around", "COMPLETED", ago_s=number)["id"] for number in range(850)} | set(same)
    long_ago = prefect.run("look-around", "FAILED", ago_s=20 * DAY, tags=["service:shop"])["id"]
    admin = serve()
    assert set(walk(admin, limit=100)) == made and len(walk(admin, limit=100)) == len(made)
    since = now(30 * DAY)
    assert walk(admin, limit=200, since=since)[-1] == long_ago
    assert walk(admin, since=since, state="FAILED", service="shop") == [long_ago]
    full_reads.hold()
    before = prefect.request_counts["/flow_runs/filter"]
    for _ in range(20):
        admin.get("/runs", since=since, state="FAILED", service="shop")
    assert prefect.request_counts["/flow_runs/filter"] - before <= 1


def test_old_runs_in_flight_are_in_the_model(prefect: FakePrefect, serve: Callable[[], Served]) -> None:
    """A run that has not ended is listed without a request to Prefect, whatever its age."""
    old = prefect.run("look-around", "PAUSED", name="Suspended", ago_s=20 * DAY)["id"]
    admin = serve()
    query = {"state": "PAUSED", "since": now(40 * DAY)}
    wait_for(lambda: ids_of(admin.get("/runs", **query)) == [old], "the old run")
    prefect.stop()
    assert ids_of(admin.get("/runs", **query)) == [old]


def test_runs_are_filtered(prefect: FakePrefect, serve: Callable[[], Served]) -> None:
    """The filters are job, state and service. Planned runs are listed only if SCHEDULED is requested."""
    prefect.job("other")
    mine = prefect.run("other", "FAILED", ago_s=5, tags=["service:shop"])["id"]
    planned = prefect.run("other", "SCHEDULED", ago_s=-3_600, auto_scheduled=True)["id"]
    admin = serve()
    assert ids_of(admin.get("/runs", job="other", state="FAILED", service="shop")) == [mine]
    assert ids_of(admin.get("/runs", job="other")) == [mine]
    wait_for(lambda: ids_of(admin.get("/runs", state="SCHEDULED")) == [planned], "the planned run")
    assert admin.get("/runs", service="nobody")["runs"] == []
    problem(admin.http.get("/runs", params={"job": "nope"}), 404)


NO_REQUESTS: list[dict[str, Any]] = [
    {"cursor": "x"},
    {"cursor": "eHx5"},
    {"cursor": "%%%"},
    {"cursor": "é"},
    {"limit": 0},
    {"limit": 201},
    {"state": "NOPE"},
    {"service": "No Such"},
    {"since": "yesterday"},
]
EDGES = ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-01-01"]


def test_invalid_queries_are_refused(admin: Served) -> None:
    """A foreign cursor and a value out of range are a 422. Every valid time is accepted."""
    for query in NO_REQUESTS:
        assert problem(admin.http.get("/runs", params=query), 422)["retry_is_safe"] is True
    for since in EDGES:
        admin.get("/runs", since=since)


def test_the_model_drops_the_oldest_ended_runs() -> None:
    """Runs in flight stay, and `complete_from` is the position down to which no run is missing."""
    model = ReadModel(max_runs=3)
    for number, state in enumerate(["RUNNING", "COMPLETED", "COMPLETED", "COMPLETED", "COMPLETED"]):
        model.put(_in_state(number, state, 0))
    assert [entry.key[1] for entry in model.below(read_model.NEWEST)] == ["run-4", "run-3", "run-0"]
    model.reach((0, ""))
    assert model.get("run-2") is None and [
        k.key[1] for k in model.below(read_model.NEWEST) if k.key >= model.complete_from
    ] == [
        "run-4",
        "run-3",
    ]


def test_the_model_drops_runs_only_when_full() -> None:
    """For random starts, ends, retries and deletions, only the oldest ended runs are dropped, and only above the limit."""
    draw = random.Random(6)
    model, kept = ReadModel(max_runs=20), dict[int, str]()
    for moment in range(3_000):
        number = draw.randrange(30)
        if number in kept and draw.random() < 0.1:
            model.forget(f"run-{number}")
            del kept[number]
            continue
        state = draw.choice(["RUNNING", "COMPLETED", "SCHEDULED", "CANCELLED"])
        in_model = number in kept
        kept[number] = state
        if in_model and draw.random() < 0.5:
            run = _in_state(number, state, moment)
            model.take_state(run["id"], run["state"], run["state"]["timestamp"])
        else:
            model.put(_in_state(number, state, moment))
        while not in_model and len(kept) > 20 and (ended := [n for n, of_n in kept.items() if of_n in OVER]):
            del kept[min(ended)]
        assert [entry.key[1] for entry in model.below(read_model.NEWEST)] == [f"run-{n}" for n in sorted(kept)[::-1]]


def _in_state(number: int, state: str, moment: int) -> dict[str, Any]:
    """Return a run that was to start at second `number` and has been in a state since second `moment`."""
    began, since = (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds) for seconds in (number, moment))
    return {
        "id": f"run-{number}",
        "name": "r",
        "created": began.isoformat(),
        "parameters": {},
        "state": {"type": state, "name": state, "timestamp": since.isoformat()},
    }
