"""The changes of a run as server-sent events: complete, in order, without repeats, also after a reconnect."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from slipway.admin import details, single_flight, streams
from slipway.admin.streams import MAX_UNREAD, Channel, Reader
from slipway.runs.store import Store
from tests.admin.api.full_reads import FullReads
from tests.admin.api.served import Served, problem, wait_for
from tests.admin.clock import Clock
from tests.played_prefect import FakePrefect

Events = Iterator[dict[str, Any]]
LOOK_AFTER_S = details.FRESH_S + 0.5  # a detail of this age is served, and a check for new outcomes begins


@pytest.fixture
def run(prefect: FakePrefect, admin: Served) -> dict[str, Any]:
    """A run in flight that is in the read model."""
    [made] = running(prefect, admin, 1)
    return made


def running(prefect: FakePrefect, admin: Served, count: int) -> list[dict[str, Any]]:
    """Start runs, and wait until events have put all of them into the read model."""
    wait_for(lambda: prefect.subscriptions, "the admin service to subscribe")
    made = [prefect.run("look-around", "RUNNING") for _ in range(count)]
    for run in made:
        prefect.move(run, "RUNNING")
    wait_for(lambda: all(admin.container.model.get(run["id"]) for run in made), "the runs in the read model")
    return made


def until(events: Events, name: str, member: str = "") -> list[dict[str, Any]]:
    """Return the events up to the first one with this name and this member."""
    seen = []
    for event in events:
        seen.append(event)
        if event["event"] == name and (not member or member in event["data"]):
            return seen
    pytest.fail(f"the stream ended before {name} {member}: {seen}")


def merged(events: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the run that a reader puts together from the events."""
    document: dict[str, Any] = {}
    for event in events:
        document = event["data"] if event["event"] == "run" else {**document, **event.get("data", {})}
    return document


def test_a_stream_has_all_changes_up_to_the_end(
    prefect: FakePrefect, admin: Served, run: dict[str, Any], store: Store
) -> None:
    """The stream sends the whole run, then the changes, then the end. Merged, they equal the response of GET."""
    with admin.events(run["id"]) as events:
        seen = until(events, "run")
        prefect.step(run, "look")
        seen += until(events, "change", "steps")
        store.save(run["id"], "look", "Decision", {"word": "keep", "reason": "it is good"})
        seen += until(events, "change", "decision")  # Prefect sends no event for an outcome
        prefect.step(run, "look", "COMPLETED")
        prefect.move(run, "COMPLETED", name="Kept")
        seen += until(events, "end")
        assert list(events) == []
    streamed, read = merged(seen), admin.get(f"/runs/{run['id']}")
    assert {name: streamed[name] for name in read if name not in ("as_of", "age_s")} == {
        name: value for name, value in read.items() if name not in ("as_of", "age_s")
    }
    assert len({event["id"] for event in seen}) == len(seen)


def test_a_reader_that_reconnects_misses_nothing(prefect: FakePrefect, admin: Served, run: dict[str, Any]) -> None:
    """With the last event's id, the stream sends the later events; with an unknown id, a `resync` and the whole run."""
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


def test_an_ended_run_has_a_short_stream(prefect: FakePrefect, admin: Served) -> None:
    """The run and its end are sent at once. A reader that has received the end gets a 204."""
    run = prefect.run("look-around", "COMPLETED", ago_s=60)
    with admin.events(run["id"]) as events:
        seen = list(events)
    assert [event["event"] for event in seen] == ["run", "end"]
    again = admin.http.get(f"/runs/{run['id']}/events", headers={"Last-Event-ID": seen[-1]["id"]})
    assert again.status_code == 204 and not again.content


def test_a_quiet_stream_sends_heartbeats(admin: Served, run: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing changes, the stream sends comments, so that no proxy closes the connection."""
    monkeypatch.setattr(streams, "HEARTBEAT_S", 0.1)
    with admin.events(run["id"]) as events:
        until(events, ":")


def test_an_unknown_run_is_a_problem_and_no_stream(admin: Served) -> None:
    """The run is looked up before the stream begins."""
    problem(admin.http.get("/runs/00000000-0000-0000-0000-000000000000/events"), 404)


def test_the_number_of_streams_is_limited(admin: Served, run: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream above the limit is a 503 with Retry-After. A reader that disconnects no longer counts."""
    monkeypatch.setattr(streams, "MAX_READERS", 1)
    with admin.events(run["id"]) as events:
        until(events, "run")
        answer = admin.http.get(f"/runs/{run['id']}/events")
        assert problem(answer, 503)["failed"] == "Too many streams are open." and answer.headers["retry-after"]
    wait_for(lambda: admin.container.streams.readers == 0, "the first reader to be removed")


def test_many_streams_cause_no_requests_to_prefect(
    prefect: FakePrefect, admin: Served, full_reads: FullReads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With thirty streams of a run, the steps that events report cause no request to Prefect."""
    clock = Clock()
    monkeypatch.setattr(single_flight, "time", clock)
    wait_for(lambda: prefect.subscriptions, "the admin service to subscribe")
    full_reads.hold()
    [run] = running(prefect, admin, 1)

    def requests_for(name: str) -> int:
        clock.forward(10)  # no earlier response of Prefect is still fresh
        before = prefect.request_counts["/flow_runs/filter"] + prefect.request_counts["/task_runs/filter"]
        prefect.step(run, name)
        for stream in open_streams:
            until(stream, "change", "steps")
        return prefect.request_counts["/flow_runs/filter"] + prefect.request_counts["/task_runs/filter"] - before

    streams_of = [admin.events(run["id"]) for _ in range(30)]
    open_streams = [stream.__enter__() for stream in streams_of]
    for stream in open_streams:
        until(stream, "run")
    assert [requests_for(f"step {number}") for number in range(5)] == [0] * 5
    for stream in streams_of:
        stream.__exit__(None, None, None)


def test_a_slow_reader_is_disconnected() -> None:
    """The unread events of a reader are bounded. A disconnected reader can continue after its last event."""
    channel, slow = Channel("run"), Reader()
    channel.readers.add(slow)
    for number in range(MAX_UNREAD):
        channel.publish("change", b"%d" % number)
    assert not slow.lost
    last = channel.current_id
    channel.publish("change", b"one more")
    assert slow.lost and channel.readers == set()
    assert [b"one more" in encoded for encoded in channel.since(last) or []] == [True]


@pytest.mark.parametrize("last_id", ["", "x", "other.1", "{name}.", "{name}.x", "{name}.²", "{name}.999", "{name}.1"])
def test_an_id_that_is_not_kept_has_no_backlog(last_id: str) -> None:
    """For an id of another channel, an invalid id, or one older than the kept changes, `since` returns None."""
    channel = Channel("run")
    for number in range(streams.MAX_KEPT + 5):
        channel.publish("change", b"%d" % number)
    assert channel.since(last_id.format(name=channel.name)) is None
    assert channel.since(channel.current_id) == []


def test_viewed_runs_share_one_query_of_the_store(
    prefect: FakePrefect,
    serve: Callable[[], Served],
    store: Store,
    full_reads: FullReads,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Repeated reads of eight running runs cause one query of our store per second. A new outcome still appears."""
    clock = Clock()
    monkeypatch.setattr(details, "time", clock)
    admin = serve()
    runs = [run["id"] for run in running(prefect, admin, 8)]
    full_reads.hold()
    queries: list[list[str]] = []
    own = admin.container.store
    times_of = own.outcome_times

    def read_all() -> None:
        for run_id in runs:
            admin.get(f"/runs/{run_id}")

    def is_idle() -> bool:
        """Return whether no detail is being built, or is about to be: it would need no query."""
        details = admin.container.details
        return not (details._tasks or details._gathering or details._refreshing)

    read_all()  # builds each detail from the read model
    monkeypatch.setattr(own, "outcome_times", lambda ids: queries.append(list(ids)) or times_of(ids))
    for _ in range(3):
        wait_for(is_idle, "the details to be built")
        queries.clear()
        clock.forward(LOOK_AFTER_S)
        for _ in range(10):
            read_all()
        wait_for(lambda: queries, "the query of our store")
        assert [set(ids) for ids in queries] == [set(runs)]
    store.save(runs[3], "look", "Decision", {"word": "keep", "reason": "it is good"})
    clock.forward(LOOK_AFTER_S)
    wait_for(lambda: admin.get(f"/runs/{runs[3]}")["decision"], "the outcome of the step")
