"""The detection of runs without a process. It never includes a run whose process is just being started."""

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
from slipway.deployments.worker.resuming import NOT_STARTED_AFTER, REPORTED_AFTER, has_no_process

A_MOMENT = timedelta(seconds=0.2)
ELSEWHERE = "another-host:1:2.0"
NOW = datetime.now(UTC)


class StoppedClock(datetime):
    """A stopped clock."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:
        return NOW.astimezone(tz)


@pytest.fixture(autouse=True)
def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the clock, so that a run is in its state for exactly the given time."""
    monkeypatch.setattr(resuming, "datetime", StoppedClock)


def run(state: StateType, since: timedelta, process: str | None) -> FlowRun:
    """Return a run that has been in `state` for `since`, with the process id that Prefect has."""
    return FlowRun(
        id=uuid4(), flow_id=uuid4(), state=State(type=state, timestamp=NOW - since), infrastructure_pid=process
    )


@pytest.fixture(scope="module")
def ended_process() -> str:
    """Return the identifier of a process on this host that has ended."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        identifier = infrastructure_id(process.pid)
        process.communicate(b"\n")
    return identifier


@pytest.mark.parametrize("state", [StateType.RUNNING, StateType.CANCELLING])
def test_an_ended_process_is_detected(ended_process: str, state: StateType) -> None:
    """A run has lost its process if the process has ended, and the server had the time to store a newer one."""
    assert has_no_process(run(state, REPORTED_AFTER + A_MOMENT, ended_process))
    assert not has_no_process(run(state, A_MOMENT, ended_process))


def test_a_resumed_run_may_have_its_old_process_for_a_while(ended_process: str) -> None:
    """A resumed run still has the id of its crashed process. This is ignored for a while."""
    assert not has_no_process(run(StateType.PENDING, NOT_STARTED_AFTER - timedelta(seconds=1), ended_process))
    assert has_no_process(run(StateType.PENDING, NOT_STARTED_AFTER + A_MOMENT, ended_process))


def test_a_run_without_a_process_id_is_detected() -> None:
    """A run never gets a process if its worker dies at the start."""
    assert not has_no_process(run(StateType.PENDING, A_MOMENT, None))
    assert has_no_process(run(StateType.PENDING, NOT_STARTED_AFTER + A_MOMENT, None))
    assert has_no_process(run(StateType.RUNNING, NOT_STARTED_AFTER + A_MOMENT, None))


@pytest.mark.parametrize("process", [ELSEWHERE, "4711", "kubernetes:job/x"])
def test_processes_of_other_hosts_are_ignored(process: str) -> None:
    """Processes of other hosts and other worker types are never reported as lost."""
    assert not has_no_process(run(StateType.RUNNING, timedelta(hours=1), process))


def test_a_living_process_is_not_lost() -> None:
    """A living process is never reported as lost, however long it runs."""
    assert not has_no_process(run(StateType.RUNNING, timedelta(hours=1), infrastructure_id(os.getpid())))
