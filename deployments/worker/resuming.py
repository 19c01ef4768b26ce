"""Resuming: a run whose process is gone is marked as crashed, and a crashed run goes on from its last finished step.

Every worker does this for all runs of its pool. A run of a lost host is marked as crashed by an automation of the
Prefect server (deployments/automations.py), as its heartbeats stop; whichever worker lives then resumes it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import anyio.to_thread
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import AwaitingRetry, Crashed, Failed
from prefect.types import DateTime

from slipway.deployments.worker.process_id import is_alive, parse_infrastructure_id
from slipway.runs.attempts import ANSWERED_FOR_S, MAX_RESUMES, Attempts

WITHOUT_AN_END = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING, StateType.PAUSED]
NOT_STARTED_AFTER = timedelta(seconds=7)  # a pending run without a process, of a worker that died just then
TOLD_AFTER = timedelta(seconds=3)  # so long a busy server may take to learn the process of a run that has begun
RESUMED_WITHIN = timedelta(days=1)  # an older crash is history
PAGE = 200  # as many runs as Prefect gives at once
logger = logging.getLogger("slipway.resuming")


class Resumer:
    """Looks after the runs of one pool; `ours` are those that this worker is starting or waiting for."""

    def __init__(self, client: PrefectClient, pool: str, attempts: Attempts, ours: Callable[[], set[UUID]]) -> None:
        self._client = client
        self._pool = pool
        self._attempts = attempts
        self._ours = ours

    async def look(self) -> None:
        """One look at all runs of the pool."""
        for run in await self._runs(WITHOUT_AN_END):
            if nobody_answered(run):
                await self._answer_no(run)
            elif not is_paused(run) and run.id not in self._ours() and has_no_process(run):
                await self._mark_crashed(run)
        for run in await self._runs([StateType.CRASHED], since=DateTime.now(UTC) - RESUMED_WITHIN):
            await self._resume(run)

    async def _runs(self, states: list[StateType], since: DateTime | None = None) -> list[FlowRun]:
        wanted = FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=states)),
            expected_start_time=FlowRunFilterExpectedStartTime(after_=since) if since else None,
        )
        pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[self._pool]))
        runs: list[FlowRun] = []
        while True:
            page = await self._client.read_flow_runs(
                flow_run_filter=wanted, work_pool_filter=pool, limit=PAGE, offset=len(runs)
            )
            runs += page
            if len(page) < PAGE:
                return runs

    async def _mark_crashed(self, run: FlowRun) -> None:
        logger.warning("run %s (%s) has no process any more", run.id, run.name)
        if run.state is not None and run.state.type == StateType.CANCELLING:
            await anyio.to_thread.run_sync(self._attempts.request_cancel, str(run.id), "somebody in Prefect")
        state: State[None] = Crashed(message=f"Its process {run.infrastructure_pid or ''} is gone.")
        await self._client.set_flow_run_state(run.id, state, force=True)

    async def _resume(self, run: FlowRun) -> None:
        assert run.state is not None
        resumes = await anyio.to_thread.run_sync(self._attempts.claim_resume, str(run.id), str(run.state.id))
        if resumes is None:
            return  # another worker has claimed this crash
        kill_if_here(run)
        if resumes > MAX_RESUMES:
            message = (
                f"The run crashed {resumes} times and could not even look where the service stands. A person has to."
            )
            await self._client.set_flow_run_state(run.id, Failed(name="GaveUp", message=message), force=True)
            return
        logger.warning("resuming run %s (%s), for the %d. time", run.id, run.name, resumes)
        scheduled: State[None] = AwaitingRetry(message=f"Resumed after a crash, for the {resumes}. time.")
        await self._client.set_flow_run_state(run.id, scheduled, force=True)

    async def _answer_no(self, run: FlowRun) -> None:
        """End the wait for an approval; of two workers that do, Prefect takes one."""
        logger.warning("nobody answered run %s (%s) in time", run.id, run.name)
        answer = {"approved": False, "by": "Slipway", "why": "Nobody answered in time."}
        await self._client.resume_flow_run(run.id, run_input=answer)


def is_paused(run: FlowRun) -> bool:
    """Whether a run waits for a person; then it has no process."""
    return run.state is not None and run.state.type == StateType.PAUSED


def nobody_answered(run: FlowRun) -> bool:
    """Whether a run waits for a person for longer than its change allows."""
    if run.state is None or run.state.name != "Suspended" or run.state.state_details.pause_timeout is None:
        return False
    return datetime.now(UTC) > run.state.state_details.pause_timeout - timedelta(seconds=ANSWERED_FOR_S)


def has_no_process(run: FlowRun) -> bool:
    """Whether a run that should have a process on this host has none; of another host's runs nothing is known here.

    A run that was resumed carries its last process until the worker that starts it has told the next one.
    """
    since = datetime.now(UTC) - run.state.timestamp if run.state is not None else timedelta(0)
    if not run.infrastructure_pid or (run.state is not None and run.state.is_pending()):
        return since > NOT_STARTED_AFTER
    if since < TOLD_AFTER:
        return False
    try:
        host, _, _ = parse_infrastructure_id(run.infrastructure_pid)
    except ValueError:
        return False  # another worker type's
    return host == socket.gethostname() and not is_alive(run.infrastructure_pid)


def kill_if_here(run: FlowRun) -> None:
    """End a process of this host that was taken for dead, so that two do not measure at once; elsewhere the fence holds."""
    with contextlib.suppress(ValueError, ProcessLookupError):
        host, pid, _ = parse_infrastructure_id(run.infrastructure_pid or "")
        if host == socket.gethostname() and is_alive(run.infrastructure_pid or ""):
            os.kill(pid, signal.SIGKILL)
