"""What happens to a run as server-sent events: whole, in order, once, also for who comes back, and for many at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from slipway.admin import details, single_flight, streams
from slipway.admin.streams import BEHIND, Channel, Reader
from slipway.runs.store import Store
from tests.admin.api.full_reads import FullReads
from tests.admin.api.served import Served, problem, wait_for
from tests.admin.clock import Clock
from tests.played_prefect import PlayedPrefect

Events = Iterator[dict[str, Any]]
LOOK_AFTER_S = details.FRESH_S + 0.5  # a detail of this age is served, and a look for news begins


@pytest.fixture
def run(prefect: PlayedPrefect, admin: Served) -> dict[str, Any]:
    """A run that is on its way, known to the service."""
    [made] = running(prefect, admin, 1)
    return made


def running(prefect: PlayedPrefect, admin: Served, count: int) -> list[dict[str, Any]]:
    """Runs on their way; the read model has them all, as events announce them."""
    wait_for(lambda: prefect.subscriptions, "the admin service to subscribe")
    made = [prefect.run("look-around", "RUNNING") for _ in range(count)]
    for run in made:
        prefect.move(run, "RUNNING")
    wait_for(lambda: all(admin.container.model.get(run["id"]) for run in made), "the runs in the read model")
    return made


def until(events: Events, name: str, member: str = "") -> list[dict[str, Any]]:
    """The events up to one of this name, which has this member."""
    seen = []
    for event in events:
        seen.append(event)
        if event["event"] == name and (not member or member in event["data"]):
            return seen
    pytest.fail(f"the stream ended before {name} {member}: {seen}")


def merged(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The run as one knows it who only listens."""
    found: dict[str, Any] = {}
    for event in events:
        found = event["data"] if event["event"] == "run" else {**found, **event.get("data", {})}
    return found


def test_a_run_from_its_steps_to_its_end(
    prefect: PlayedPrefect, admin: Served, run: dict[str, Any], store: Store
) -> None:
    """First all of it, then what changes, then its end; who puts these together has what GET answers."""
    with admin.events(run["id"]) as events:
        seen = until(events, "run")
        prefect.step(run, "look")
        seen += until(events, "change", "steps")
        store.keep(run["id"], "look", "Decision", {"word": "keep", "reason": "it is good"})
        seen += until(events, "change", "decision")  # no event of Prefect tells of it
        prefect.step(run, "look", "COMPLETED")
        prefect.move(run, "COMPLETED", name="Kept")
        seen += until(events, "end")
        assert list(events) == []
    known, told = merged(seen), admin.get(f"/runs/{run['id']}")
    assert {name: known[name] for name in told if name not in ("as_of", "age_s")} == {
        name: value for name, value in told.items() if name not in ("as_of", "age_s")
    }
    assert len({event["id"] for event in seen}) == len(seen)


def test_who_comes_back_misses_nothing(prefect: PlayedPrefect, admin: Served, run: dict[str, Any]) -> None:
    """With the id of the last event come exactly those after it; with an unknown one comes all, and it is said so."""
    with admin.events(run["id"]) as events:
        last = until(events, "run")[-1]["id"]
        prefect.step(run, "one")
        first = until(events, "change", "steps")
    prefect.step(run, "two")
    wait_for(lambda: len(admin.get(f"/runs/{run['id']}")["steps"]) == 2, "the second step")
    with admin.events(run["id"], last) as events:
        again = until(events, "change", "steps")
        while len(again[-1]["data"]["steps"]) < 2:
            again += until(events, "change", "steps")
        assert again[: len(first)] == first
        assert [step["name"] for step in again[-1]["data"]["steps"]] == ["one", "two"]
    with admin.events(run["id"], "0000.7") as events:
        assert [event["event"] for event in until(events, "run")] == ["resync", "run"]


def test_a_run_that_is_over(prefect: PlayedPrefect, admin: Served) -> None:
    """All of it and its end come at once; who has seen the end is told not to come back."""
    run = prefect.run("look-around", "COMPLETED", ago_s=60)
    with admin.events(run["id"]) as events:
        seen = list(events)
    assert [event["event"] for event in seen] == ["run", "end"]
    again = admin.http.get(f"/runs/{run['id']}/events", headers={"Last-Event-ID": seen[-1]["id"]})
    assert again.status_code == 204 and not again.content


def test_there_is_a_sign_of_life(admin: Served, run: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing happens a comment comes now and then, so that nobody in between hangs up."""
    monkeypatch.setattr(streams, "HEARTBEAT_S", 0.1)
    with admin.events(run["id"]) as events:
        until(events, ":")


def test_an_unknown_run_is_a_problem_and_no_stream(admin: Served) -> None:
    """Before a stream begins it is known that there is something to tell."""
    problem(admin.http.get("/runs/00000000-0000-0000-0000-000000000000/events"), 404)


def test_there_are_only_so_many(admin: Served, run: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """One stream too many is refused, and when to come back is said; a place becomes free when somebody leaves."""
    monkeypatch.setattr(streams, "READERS", 1)
    with admin.events(run["id"]) as events:
        until(events, "run")
        answer = admin.http.get(f"/runs/{run['id']}/events")
        assert problem(answer, 503)["failed"] == "Too many watch already." and answer.headers["retry-after"]
    wait_for(lambda: admin.container.streams.readers == 0, "the first reader to be forgotten")


def test_many_readers_cost_prefect_nothing(
    prefect: PlayedPrefect, admin: Served, full_reads: FullReads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether one watches or thirty, Prefect is asked nothing for the steps that events announce."""
    clock = Clock()
    monkeypatch.setattr(single_flight, "time", clock)
    wait_for(lambda: prefect.subscriptions, "the admin service to subscribe")
    full_reads.hold()
    [run] = running(prefect, admin, 1)

    def asked_for(name: str) -> int:
        clock.forward(10)  # no earlier answer of Prefect is fresh any more
        before = prefect.asked["/flow_runs/filter"] + prefect.asked["/task_runs/filter"]
        prefect.step(run, name)
        for stream in open_streams:
            until(stream, "change", "steps")
        return prefect.asked["/flow_runs/filter"] + prefect.asked["/task_runs/filter"] - before

    streams_of = [admin.events(run["id"]) for _ in range(30)]
    open_streams = [stream.__enter__() for stream in streams_of]
    for stream in open_streams:
        until(stream, "run")
    assert [asked_for(f"step {number}") for number in range(5)] == [0] * 5
    for stream in streams_of:
        stream.__exit__(None, None, None)


def test_who_is_too_slow_is_let_go() -> None:
    """Nothing is kept without end for one reader; the others do not wait for it, and it can come back."""
    channel, slow = Channel("run"), Reader()
    channel.readers.add(slow)
    for number in range(BEHIND):
        channel.tell("change", b"%d" % number)
    assert not slow.lost
    last = channel.here
    channel.tell("change", b"one more")
    assert slow.lost and channel.readers == set()
    assert [b"one more" in wire for wire in channel.since(last) or []] == [True]


@pytest.mark.parametrize("last_id", ["", "x", "other.1", "{name}.", "{name}.x", "{name}.²", "{name}.999", "{name}.1"])
def test_what_cannot_be_told_any_more(last_id: str) -> None:
    """An id of another channel, of nothing, or from before what is kept, is answered with all instead of with a gap."""
    channel = Channel("run")
    for number in range(streams.KEPT + 5):
        channel.tell("change", b"%d" % number)
    assert channel.since(last_id.format(name=channel.name)) is None
    assert channel.since(channel.here) == []


def test_runs_that_are_looked_at_are_asked_for_together(
    prefect: PlayedPrefect,
    serve: Callable[[], Served],
    store: Store,
    full_reads: FullReads,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Eight running runs, read again and again: one question to our store a second; what a step leaves is still told."""
    clock = Clock()
    monkeypatch.setattr(details, "time", clock)
    admin = serve()
    runs = [run["id"] for run in running(prefect, admin, 8)]
    full_reads.hold()
    asked: list[list[str]] = []
    own = admin.container.store
    marks_of = own.marks_of

    def read_all() -> None:
        for run_id in runs:
            admin.get(f"/runs/{run_id}")

    def is_idle() -> bool:
        """Whether no detail is being made, or about to be because of an event: it would be as new as a question."""
        details = admin.container.details
        return not (details._begun or details._gathering or details._looking)

    read_all()  # each is put together from the model
    monkeypatch.setattr(own, "marks_of", lambda ids: asked.append(list(ids)) or marks_of(ids))
    for _ in range(3):
        wait_for(is_idle, "the details to be made")
        asked.clear()
        clock.forward(LOOK_AFTER_S)
        for _ in range(10):
            read_all()
        wait_for(lambda: asked, "the question to our store")
        assert [set(ids) for ids in asked] == [set(runs)]
    store.keep(runs[3], "look", "Decision", {"word": "keep", "reason": "it is good"})
    clock.forward(LOOK_AFTER_S)
    wait_for(lambda: admin.get(f"/runs/{runs[3]}")["decision"], "what the step left")
