"""Following a run through the admin service: what is an end, and what is waited for."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from slipway.client import http
from slipway.client.http import POLL_S, RESUMED_WITHIN_S, AdminClient
from slipway.core.errors import Unavailable


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[AdminClient]:
    """A client for which a poll takes no time at all, but the clock believes that it does."""
    now = [0.0]
    clock = SimpleNamespace(monotonic=lambda: now[0], sleep=lambda seconds: now.__setitem__(0, now[0] + seconds))
    monkeypatch.setattr(http, "time", clock)
    with AdminClient("http://127.0.0.1:9") as made:
        yield made


def answers(client: AdminClient, monkeypatch: pytest.MonkeyPatch, *states: str) -> None:
    """The states that the admin service answers, one a look, the last for ever; AWAY is no answer."""
    left = list(states)

    def run(run_id: str) -> dict[str, dict[str, str]]:
        state = left.pop(0) if len(left) > 1 else left[0]
        if state == "AWAY":
            raise Unavailable("It is away.", expected="It.")
        return {"state": {"type": state}}

    monkeypatch.setattr(client, "run", run)


def followed(client: AdminClient) -> list[str]:
    """The states that were shown."""
    return [run["state"]["type"] for run in client.follow("run")]


@pytest.mark.parametrize("end", ["COMPLETED", "FAILED", "CANCELLED"])
def test_an_end_is_an_end(client: AdminClient, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    """The run is shown until it has ended, the end too."""
    answers(client, monkeypatch, "PENDING", "RUNNING", "PAUSED", end)
    assert followed(client) == ["PENDING", "RUNNING", "PAUSED", end]


def test_a_crash_that_is_resumed_is_no_end(client: AdminClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker resumes it: whoever follows it sees its real end."""
    answers(client, monkeypatch, "RUNNING", "CRASHED", "CRASHED", "RUNNING", "CRASHED", "SCHEDULED", "COMPLETED")
    assert followed(client)[-1] == "COMPLETED"


def test_a_crash_that_nobody_resumes_is_an_end(client: AdminClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a pool of another type: nobody waits for ever, nor longer for the time the run took before."""
    answers(client, monkeypatch, *["RUNNING"] * 500, "CRASHED")
    shown = followed(client)
    crashed = shown.count("CRASHED")
    assert shown[-1] == "CRASHED" and RESUMED_WITHIN_S < crashed * POLL_S < RESUMED_WITHIN_S + 3 * POLL_S


def test_a_service_that_is_away_for_a_while(client: AdminClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked again."""
    answers(client, monkeypatch, "RUNNING", *["AWAY"] * 60, "COMPLETED")
    assert followed(client) == ["RUNNING", "COMPLETED"]


def test_a_service_that_stays_away(client: AdminClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the end that is an error."""
    answers(client, monkeypatch, "RUNNING", "AWAY")
    with pytest.raises(Unavailable):
        followed(client)
