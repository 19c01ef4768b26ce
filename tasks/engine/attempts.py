"""The attempt that this process is at, and whether somebody wants its run cancelled."""

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
from slipway.core.formatting import ended
from slipway.core.settings import Settings
from slipway.runs.attempts import Attempt, Attempts, Fenced
from slipway.runs.store import Store

LOOK_EVERY_S = 0.7
PAGE = 200  # as many runs as Prefect gives at once
logger = logging.getLogger("slipway.attempts")


class Cancelled(SlipwayError):
    """Somebody wants the run cancelled."""

    def __init__(self, by: str) -> None:
        self.by = by
        super().__init__(f"Cancelled by {ended(by)}", expected="The run to go on.", retry_is_safe=True)


class StoppedBefore(Cancelled):
    """The run was cancelled before anything was changed."""


class _RunContext:
    """What this process knows of its run."""

    attempt: Attempt | None = None
    cancelled_by = ""
    paused_by = ""
    shielded = False
    acting = False
    fenced: Fenced | None = None


@cache
def own_store() -> Store:
    """Slipway's store, as the environment names it; one a process."""
    return Store(Settings.from_environment().database_url)


def own_attempts() -> Attempts:
    """The attempts in our store."""
    return Attempts(own_store())


def run_id() -> str:
    """The id of the flow run in which we are."""
    return str(flow_run.id)


def resumed() -> bool:
    """Whether another process has been at this run before."""
    return _RunContext.attempt is not None and _RunContext.attempt.number > 1


@contextmanager
def attempt() -> Iterator[Attempt]:
    """Begin an attempt at this run, which fences every earlier one, and watch for a cancel while it lasts."""
    current = own_attempts().begin(run_id())
    _RunContext.attempt, _RunContext.cancelled_by, _RunContext.shielded = current, current.cancelled_by, False
    _RunContext.paused_by = own_attempts().control_requests(current).paused_by
    over = threading.Event()
    watch = threading.Thread(target=_watch, args=(current, over), name="cancel-watch", daemon=True)
    watch.start()
    try:
        yield current
    finally:
        over.set()
        watch.join()
        _RunContext.attempt = None


def cancelled_by() -> str:
    """Who wants this run cancelled; empty when nobody does."""
    return _RunContext.cancelled_by


def paused_by() -> str:
    """Who wants this run paused; empty when nobody does."""
    return _RunContext.paused_by


def check_cancelled() -> None:
    """Raise Cancelled when somebody wants that, unless we are on the way back already. A fenced process ends here."""
    if _RunContext.fenced is not None:
        _end_here(_RunContext.fenced)
    if _RunContext.cancelled_by and not _RunContext.shielded:
        raise Cancelled(_RunContext.cancelled_by)


@contextmanager
def shield() -> Iterator[None]:
    """Within this block nothing is cancelled: the way back is gone to its end."""
    before, _RunContext.shielded = _RunContext.shielded, True
    try:
        yield
    finally:
        _RunContext.shielded = before


@contextmanager
def effect(service: str) -> Iterator[None]:
    """Within this block this attempt may act on the service. A fenced process ends here, and tells Prefect nothing."""
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
    logger.warning("%s; this process ends without acting", fenced)
    os._exit(0)  # an exception would report a state for the run that the later attempt is at


def _watch(current: Attempt, over: threading.Event) -> None:
    """Look in our store for a cancel, which outlives a crash there, and for a pause; for cancels in Prefect in turn.

    A process that was taken for dead and is fenced ends here, too: it must not measure beside the later attempt, nor
    rehearse on the same copy. One that is just acting has the lock, for which the later one waits: it may finish that,
    or go on to where its step may be interrupted.
    """
    with get_client(sync_client=True) as client:
        while not over.wait(LOOK_EVERY_S):
            try:
                _look(current, client)
            except Fenced as fenced:
                _RunContext.fenced = fenced
                if not _RunContext.acting:
                    _end_here(fenced)
            except Exception as error:  # the server or our store is away: the next look may succeed
                logger.debug("could not look for a cancel: %s", error)


def _look(current: Attempt, client: SyncPrefectClient) -> None:
    wanted = own_attempts().control_requests(current)
    _RunContext.cancelled_by, _RunContext.paused_by = wanted.cancelled_by, wanted.paused_by
    if wanted.to_ask and (cancelled := list(_cancelled_in_prefect(client))):
        own_attempts().mark_cancelled(cancelled, "somebody in Prefect")
        _RunContext.cancelled_by = own_attempts().control_requests(current).cancelled_by


def _cancelled_in_prefect(client: SyncPrefectClient) -> Iterator[str]:
    """The ids of all runs that are to be cancelled, whoever's they are."""
    cancelling = FlowRunFilterStateType(any_=[StateType.CANCELLING])
    wanted = FlowRunFilter(state=FlowRunFilterState(type=cancelling))
    for offset in itertools.count(0, PAGE):
        runs = client.read_flow_runs(flow_run_filter=wanted, limit=PAGE, offset=offset)
        yield from (str(run.id) for run in runs)
        if len(runs) < PAGE:
            return
