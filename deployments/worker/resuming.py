"""Mark runs without a process as crashed, and resume crashed runs after their last finished step.

Every worker does this for all runs of its pool. When a host is lost, the heartbeats of its runs stop, and an automation
of the Prefect server (deployments/automations.py) marks these runs as crashed. Any worker that is alive resumes them.
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

UNFINISHED = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING, StateType.PAUSED]
NOT_STARTED_AFTER = timedelta(seconds=7)  # a pending run still without a process: its worker has died
REPORTED_AFTER = timedelta(seconds=3)  # a busy server may need this long to store the process id of a started run
RESUMED_WITHIN = timedelta(days=1)  # an older crash is history
PAGE = 200  # most runs that Prefect returns at once
logger = logging.getLogger("slipway.resuming")


class Resumer:
    """Watch the runs of one pool. `own_runs` returns the runs that this worker is starting or waiting for."""

    def __init__(self, client: PrefectClient, pool: str, attempts: Attempts, own_runs: Callable[[], set[UUID]]) -> None:
        self._client = client
        self._pool = pool
        self._attempts = attempts
        self._own_runs = own_runs

    async def check_runs(self) -> None:
        """Check all runs of the pool once: end expired approvals, mark lost runs as crashed, resume crashed runs."""
        for run in await self._runs(UNFINISHED):
            if has_approval_timed_out(run):
                await self._reject_unanswered(run)
            elif not is_paused(run) and run.id not in self._own_runs() and has_no_process(run):
                await self._mark_crashed(run)
        for run in await self._runs([StateType.CRASHED], since=DateTime.now(UTC) - RESUMED_WITHIN):
            await self._resume(run)

    async def _runs(self, states: list[StateType], since: DateTime | None = None) -> list[FlowRun]:
        run_filter = FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=states)),
            expected_start_time=FlowRunFilterExpectedStartTime(after_=since) if since else None,
        )
        pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[self._pool]))
        runs: list[FlowRun] = []
        while True:
            page = await self._client.read_flow_runs(
                flow_run_filter=run_filter, work_pool_filter=pool, limit=PAGE, offset=len(runs)
            )
            runs += page
            if len(page) < PAGE:
                return runs

    async def _mark_crashed(self, run: FlowRun) -> None:
        logger.warning("The process of run %s (%s) is gone.", run.id, run.name)
        if run.state is not None and run.state.type == StateType.CANCELLING:
            await anyio.to_thread.run_sync(self._attempts.request_cancel, str(run.id), "a Prefect user")
        state: State[None] = Crashed(message=f"Its process {run.infrastructure_pid or ''} is gone.")
        await self._client.set_flow_run_state(run.id, state, force=True)

    async def _resume(self, run: FlowRun) -> None:
        assert run.state is not None
        resumes = await anyio.to_thread.run_sync(self._attempts.claim_resume, str(run.id), str(run.state.id))
        if resumes is None:
            return  # another worker has claimed this crash
        kill_local_process(run)
        if resumes > MAX_RESUMES:
            message = f"The run crashed {resumes} times and could not check the service. Check its state by hand."
            await self._client.set_flow_run_state(run.id, Failed(name="GaveUp", message=message), force=True)
            return
        logger.warning("Resuming run %s (%s) after a crash (resume %d)", run.id, run.name, resumes)
        scheduled: State[None] = AwaitingRetry(message=f"Resumed after a crash (resume {resumes}).")
        await self._client.set_flow_run_state(run.id, scheduled, force=True)

    async def _reject_unanswered(self, run: FlowRun) -> None:
        """Reject a run whose approval timed out. If two workers do this, Prefect accepts one of them."""
        logger.warning("Nobody approved or rejected run %s (%s) in time.", run.id, run.name)
        approval = {"approved": False, "by": "Slipway", "why": "Nobody answered in time."}
        await self._client.resume_flow_run(run.id, run_input=approval)


def is_paused(run: FlowRun) -> bool:
    """Return whether a run is paused for a person. A paused run has no process."""
    return run.state is not None and run.state.type == StateType.PAUSED


def has_approval_timed_out(run: FlowRun) -> bool:
    """Return whether a run has waited for approval longer than its change allows."""
    if run.state is None or run.state.name != "Suspended" or run.state.state_details.pause_timeout is None:
        return False
    return datetime.now(UTC) > run.state.state_details.pause_timeout - timedelta(seconds=ANSWERED_FOR_S)


def has_no_process(run: FlowRun) -> bool:
    """Return whether a run that should have a process on this host has none. Return false for runs of other hosts.

    A resumed run keeps the id of its last process until its worker reports the new one.
    """
    since = datetime.now(UTC) - run.state.timestamp if run.state is not None else timedelta(0)
    if not run.infrastructure_pid or (run.state is not None and run.state.is_pending()):
        return since > NOT_STARTED_AFTER
    if since < REPORTED_AFTER:
        return False
    try:
        host, _, _ = parse_infrastructure_id(run.infrastructure_pid)
    except ValueError:
        return False  # the identifier of another worker type
    return host == socket.gethostname() and not is_alive(run.infrastructure_pid)


def kill_local_process(run: FlowRun) -> None:
    """Kill the run's old process if it is alive on this host, so that two do not measure at once. Elsewhere the fence holds."""
    with contextlib.suppress(ValueError, ProcessLookupError):
        host, pid, _ = parse_infrastructure_id(run.infrastructure_pid or "")
        if host == socket.gethostname() and is_alive(run.infrastructure_pid or ""):
            os.kill(pid, signal.SIGKILL)
