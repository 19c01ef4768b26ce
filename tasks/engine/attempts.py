"""The attempt of this process at its run, and requests to cancel or pause the run."""

from __future__ import annotations

import itertools
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import NoReturn

from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import StateType
from prefect.runtime import flow_run

from slipway.core.errors import SlipwayError
from slipway.core.formatting import with_full_stop
from slipway.core.settings import Settings
from slipway.runs.attempts import Attempt, Attempts, Fenced
from slipway.runs.store import Store

POLL_INTERVAL_S = 0.7
PAGE_SIZE = 200  # the most runs that Prefect returns at once
logger = logging.getLogger("slipway.attempts")


class Cancelled(SlipwayError):
    """Cancellation of the run was requested."""

    def __init__(self, by: str) -> None:
        self.by = by
        super().__init__(
            f"Cancelled by {with_full_stop(by)}", expected="The run continues to its end.", retry_is_safe=True
        )


class StoppedBefore(Cancelled):
    """The run was cancelled before it changed anything."""


class _RunContext:
    """The state of this process's run."""

    attempt: Attempt | None = None
    cancelled_by = ""
    paused_by = ""
    shielded = False
    acting = False
    fenced: Fenced | None = None


@cache
def own_store() -> Store:
    """Return Slipway's store, from the settings in the environment. Each process has one."""
    return Store(Settings.from_environment().database_url)


def own_attempts() -> Attempts:
    """Return the attempts in Slipway's store."""
    return Attempts(own_store())


def run_id() -> str:
    """Return the id of the current flow run."""
    return str(flow_run.id)


def resumed() -> bool:
    """Return whether another process has worked on this run before."""
    return _RunContext.attempt is not None and _RunContext.attempt.number > 1


@contextmanager
def attempt() -> Iterator[Attempt]:
    """Start an attempt at this run, which fences every earlier one, and poll for cancellation within the block."""
    current = own_attempts().begin(run_id())
    _RunContext.attempt, _RunContext.cancelled_by, _RunContext.shielded = current, current.cancelled_by, False
    _RunContext.paused_by = own_attempts().control_requests(current).paused_by
    stop = threading.Event()
    poller = threading.Thread(target=_poll_until, args=(current, stop), name="cancel-watch", daemon=True)
    poller.start()
    try:
        yield current
    finally:
        stop.set()
        poller.join()
        _RunContext.attempt = None


def cancelled_by() -> str:
    """Return the user who requested cancellation of this run, or "" without a request."""
    return _RunContext.cancelled_by


def paused_by() -> str:
    """Return the user who requested a pause of this run, or "" without a request."""
    return _RunContext.paused_by


def check_cancelled() -> None:
    """Raise `Cancelled` if cancellation was requested and the run is not shielded. A fenced process ends here."""
    if _RunContext.fenced is not None:
        _end_here(_RunContext.fenced)
    if _RunContext.cancelled_by and not _RunContext.shielded:
        raise Cancelled(_RunContext.cancelled_by)


@contextmanager
def shield() -> Iterator[None]:
    """Ignore cancellation within the block, so that a rollback runs to its end."""
    before, _RunContext.shielded = _RunContext.shielded, True
    try:
        yield
    finally:
        _RunContext.shielded = before


@contextmanager
def effect(service: str) -> Iterator[None]:
    """Allow this attempt to act on the service within the block. A fenced process ends here and reports no state to Prefect."""
    assert _RunContext.attempt is not None, "an effect needs an attempt"
    try:
        with own_attempts().effect(_RunContext.attempt, service):
            _RunContext.acting = True
            yield
    except Fenced as fenced:
        _end_here(fenced)
    finally:
        _RunContext.acting = False


def _end_here(fenced: Fenced) -> NoReturn:
    logger.warning("%s; this process exits without acting", fenced)
    os._exit(0)  # an exception would report a state for a run that a later attempt is working on


def _poll_until(current: Attempt, stop: threading.Event) -> None:
    """Poll Slipway's store for cancellation and pause requests until `stop` is set.

    Requests in the store survive a crash. The running attempts take turns to read cancellations from Prefect.

    A fenced process, one that was wrongly taken for dead, ends here too: it must not measure at the same time as the later
    attempt, nor rehearse on the same copy. A process that is acting on the service holds the lock for which the later
    attempt waits. It may finish, or continue to a point at which its step may be interrupted.
    """
    with get_client(sync_client=True) as client:
        while not stop.wait(POLL_INTERVAL_S):
            try:
                _poll(current, client)
            except Fenced as fenced:
                _RunContext.fenced = fenced
                if not _RunContext.acting:
                    _end_here(fenced)
            except Exception as error:  # Prefect or the store is unavailable: the next poll may succeed
                logger.debug("Could not poll for cancellation: %s", error)


def _poll(current: Attempt, client: SyncPrefectClient) -> None:
    requests = own_attempts().control_requests(current)
    _RunContext.cancelled_by, _RunContext.paused_by = requests.cancelled_by, requests.paused_by
    if requests.to_ask and (cancelled := list(_cancelled_in_prefect(client))):
        own_attempts().mark_cancelled(cancelled, "a Prefect user")
        _RunContext.cancelled_by = own_attempts().control_requests(current).cancelled_by


def _cancelled_in_prefect(client: SyncPrefectClient) -> Iterator[str]:
    """Yield the ids of all runs in the state Cancelling, also those of other processes."""
    cancelling = FlowRunFilterStateType(any_=[StateType.CANCELLING])
    run_filter = FlowRunFilter(state=FlowRunFilterState(type=cancelling))
    for offset in itertools.count(0, PAGE_SIZE):
        runs = client.read_flow_runs(flow_run_filter=run_filter, limit=PAGE_SIZE, offset=offset)
        yield from (str(run.id) for run in runs)
        if len(runs) < PAGE_SIZE:
            return
