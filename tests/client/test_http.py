"""`AdminClient.follow`: when it ends, and what it waits for."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from slipway.client import http
from slipway.client.http import POLL_S, RESUMED_WITHIN_S, AdminClient
from slipway.core.errors import Unavailable


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[AdminClient]:
    """A client whose sleeps only move a fake clock."""
    now = [0.0]
    clock = SimpleNamespace(monotonic=lambda: now[0], sleep=lambda seconds: now.__setitem__(0, now[0] + seconds))
    monkeypatch.setattr(http, "time", clock)
    with AdminClient("http://127.0.0.1:9") as made:
        yield made


def answers(client: AdminClient, monkeypatch: pytest.MonkeyPatch, *states: str) -> None:
    """Set the states that the admin service returns, one per poll, the last one forever; AWAY raises Unavailable."""
    remaining = list(states)

    def run(run_id: str) -> dict[str, dict[str, str]]:
        state = remaining.pop(0) if len(remaining) > 1 else remaining[0]
        if state == "AWAY":
            raise Unavailable("It is away.", expected="It.")
        return {"state": {"type": state}}

    monkeypatch.setattr(client, "run", run)


def followed(client: AdminClient) -> list[str]:
    """Return the states that `follow` yields."""
    return [run["state"]["type"] for run in client.follow("run")]


@pytest.mark.parametrize("end", ["COMPLETED", "FAILED", "CANCELLED"])
def test_follow_ends_with_the_run(client: AdminClient, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    """Every state is yielded, including the last one."""
    answers(client, monkeypatch, "PENDING", "RUNNING", "PAUSED", end)
    assert followed(client) == ["PENDING", "RUNNING", "PAUSED", end]


def test_follow_continues_after_a_resumed_crash(client: AdminClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a worker resumes a crashed run, `follow` continues until the run ends."""
    answers(client, monkeypatch, "RUNNING", "CRASHED", "CRASHED", "RUNNING", "CRASHED", "SCHEDULED", "COMPLETED")
    assert followed(client)[-1] == "COMPLETED"


def test_follow_ends_after_a_crash_that_is_not_resumed(client: AdminClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other types of work pool resume no runs. The wait is 60 s, however long the run took before."""
    answers(client, monkeypatch, *["RUNNING"] * 500, "CRASHED")
    states = followed(client)
    crashed = states.count("CRASHED")
    assert states[-1] == "CRASHED" and RESUMED_WITHIN_S < crashed * POLL_S < RESUMED_WITHIN_S + 3 * POLL_S


def test_follow_retries_an_unreachable_service(client: AdminClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that is unreachable for less than 60 s causes no error."""
    answers(client, monkeypatch, "RUNNING", *["AWAY"] * 60, "COMPLETED")
    assert followed(client) == ["RUNNING", "COMPLETED"]


def test_follow_raises_if_the_service_stays_unreachable(client: AdminClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """After 60 s without a response, `follow` raises Unavailable."""
    answers(client, monkeypatch, "RUNNING", "AWAY")
    with pytest.raises(Unavailable):
        followed(client)
