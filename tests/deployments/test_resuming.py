"""When a run is taken for one without a process: never one whose process is just being started."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta, tzinfo
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import State

from slipway.deployments.worker import resuming
from slipway.deployments.worker.process_id import infrastructure_id
from slipway.deployments.worker.resuming import NOT_STARTED_AFTER, TOLD_AFTER, has_no_process

A_MOMENT = timedelta(seconds=0.2)
ELSEWHERE = "another-host:1:2.0"
NOW = datetime.now(UTC)


class Still(datetime):
    """A clock that stands still."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:
        return NOW.astimezone(tz)


@pytest.fixture(autouse=True)
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run has been in its state exactly as long as the test says."""
    monkeypatch.setattr(resuming, "datetime", Still)


def run(state: StateType, since: timedelta, process: str | None) -> FlowRun:
    """A run that has been in a state so long, and the process that Prefect knows of."""
    return FlowRun(
        id=uuid4(), flow_id=uuid4(), state=State(type=state, timestamp=NOW - since), infrastructure_pid=process
    )


@pytest.fixture(scope="module")
def dead() -> str:
    """A process of this host that has ended."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        known = infrastructure_id(process.pid)
        process.communicate(b"\n")
    return known


@pytest.mark.parametrize("state", [StateType.RUNNING, StateType.CANCELLING])
def test_a_process_that_has_ended(dead: str, state: StateType) -> None:
    """It is missed once the server must have learnt of a newer one."""
    assert has_no_process(run(state, TOLD_AFTER + A_MOMENT, dead))
    assert not has_no_process(run(state, A_MOMENT, dead))


def test_a_resumed_run_that_is_being_started(dead: str) -> None:
    """It still carries the process that crashed: for a while that says nothing."""
    assert not has_no_process(run(StateType.PENDING, NOT_STARTED_AFTER - timedelta(seconds=1), dead))
    assert has_no_process(run(StateType.PENDING, NOT_STARTED_AFTER + A_MOMENT, dead))


def test_a_run_that_never_got_a_process() -> None:
    """Its worker died just then."""
    assert not has_no_process(run(StateType.PENDING, A_MOMENT, None))
    assert has_no_process(run(StateType.PENDING, NOT_STARTED_AFTER + A_MOMENT, None))
    assert has_no_process(run(StateType.RUNNING, NOT_STARTED_AFTER + A_MOMENT, None))


@pytest.mark.parametrize("process", [ELSEWHERE, "4711", "kubernetes:job/x"])
def test_processes_that_cannot_be_seen_from_here(process: str) -> None:
    """Of another host or another worker type nothing is known."""
    assert not has_no_process(run(StateType.RUNNING, timedelta(hours=1), process))


def test_a_living_process() -> None:
    """It is left alone, however long it runs."""
    assert not has_no_process(run(StateType.RUNNING, timedelta(hours=1), infrastructure_id(os.getpid())))
