"""Pages of runs: stable while new runs come in, bounded, and going on below what is in memory."""

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
from tests.played_prefect import PlayedPrefect, now

DAY = 86_400.0


def ids_of(page: dict[str, Any]) -> list[str]:
    """The ids of a page."""
    return [run["id"] for run in page["runs"]]


def walk(admin: Served, **query: Any) -> list[str]:
    """All ids, page by page."""
    page = admin.get("/runs", **query)
    found = ids_of(page)
    while page["next"]:
        page = admin.get("/runs", **query, cursor=page["next"])
        found += ids_of(page)
    return found


def test_pages_stay_while_runs_come_in(prefect: PlayedPrefect, serve: Callable[[], Served]) -> None:
    """Each run is on one page, the newest first, also when others begin meanwhile; of the last seven days by default."""
    old = [prefect.run("look-around", "COMPLETED", ago_s=60 + number)["id"] for number in range(7)]
    prefect.run("look-around", "COMPLETED", ago_s=8 * DAY)
    admin = serve()
    page = admin.get("/runs", limit=3)
    found = ids_of(page)
    new = admin.http.post("/jobs/look-around/runs", json={}).json()["id"]
    while page["next"]:
        page = admin.get("/runs", limit=3, cursor=page["next"])
        found += ids_of(page)
    assert found == old
    assert ids_of(admin.get("/runs", limit=1)) == [new]


def test_below_what_is_in_memory(
    prefect: PlayedPrefect, serve: Callable[[], Served], full_reads: FullReads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Older runs are read from Prefect, in order, each once, also those of one moment; many who read cause one request."""
    monkeypatch.setattr(synchroniser, "MOST_RUNS", 200)
    monkeypatch.setattr(read_model, "MOST_RUNS", 200)
    monkeypatch.setattr(single_flight, "time", Clock())  # an answer of Prefect stays fresh, however long the reads take
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
    before = prefect.asked["/flow_runs/filter"]
    for _ in range(20):
        admin.get("/runs", since=since, state="FAILED", service="shop")
    assert prefect.asked["/flow_runs/filter"] - before <= 1


def test_what_is_on_its_way_is_in_memory(prefect: PlayedPrefect, serve: Callable[[], Served]) -> None:
    """However old a run is that is not over: it is listed without asking Prefect, also while that is away."""
    old = prefect.run("look-around", "PAUSED", name="Suspended", ago_s=20 * DAY)["id"]
    admin = serve()
    query = {"state": "PAUSED", "since": now(40 * DAY)}
    wait_for(lambda: ids_of(admin.get("/runs", **query)) == [old], "the old run")
    prefect.go()
    assert ids_of(admin.get("/runs", **query)) == [old]


def test_filters(prefect: PlayedPrefect, serve: Callable[[], Served]) -> None:
    """By job, state and service; what a schedule has planned is shown to who asks for it only."""
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


def test_what_is_a_request_and_what_is_none(admin: Served) -> None:
    """A cursor that we have not written, and what is out of bounds, is refused in words; any time is a time."""
    for query in NO_REQUESTS:
        assert problem(admin.http.get("/runs", params=query), 422)["retry_is_safe"] is True
    for since in EDGES:
        admin.get("/runs", since=since)


def test_the_memory_is_bounded() -> None:
    """The oldest that is over is let go; what is on its way stays, and from where all are there is known."""
    model = ReadModel(most=3)
    for number, state in enumerate(["RUNNING", "COMPLETED", "COMPLETED", "COMPLETED", "COMPLETED"]):
        model.put(_in_state(number, state, 0))
    assert [known.key[1] for known in model.below(read_model.NEWEST)] == ["run-4", "run-3", "run-0"]
    model.reach((0, ""))
    assert model.get("run-2") is None and [
        k.key[1] for k in model.below(read_model.NEWEST) if k.key >= model.whole_from
    ] == [
        "run-4",
        "run-3",
    ]


def test_what_the_memory_lets_go() -> None:
    """Whatever way runs come, end, are retried and vanish: only the oldest of those that are over go, and only for room."""
    draw = random.Random(6)
    model, kept = ReadModel(most=20), dict[int, str]()
    for moment in range(3_000):
        number = draw.randrange(30)
        if number in kept and draw.random() < 0.1:
            model.forget(f"run-{number}")
            del kept[number]
            continue
        state = draw.choice(["RUNNING", "COMPLETED", "SCHEDULED", "CANCELLED"])
        known = number in kept
        kept[number] = state
        if known and draw.random() < 0.5:
            run = _in_state(number, state, moment)
            model.take_state(run["id"], run["state"], run["state"]["timestamp"])
        else:
            model.put(_in_state(number, state, moment))
        while not known and len(kept) > 20 and (over := [old for old, its in kept.items() if its in OVER]):
            del kept[min(over)]
        assert [known.key[1] for known in model.below(read_model.NEWEST)] == [f"run-{n}" for n in sorted(kept)[::-1]]


def _in_state(number: int, state: str, moment: int) -> dict[str, Any]:
    """A run by the order in which it was to start, in a state since a moment."""
    began, since = (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=passed) for passed in (number, moment))
    return {
        "id": f"run-{number}",
        "name": "r",
        "created": began.isoformat(),
        "parameters": {},
        "state": {"type": state, "name": state, "timestamp": since.isoformat()},
    }
