"""What every job does that changes a service: fence earlier attempts, hold the service, end well when it is cancelled."""

from __future__ import annotations

from collections.abc import Callable

from prefect.client.schemas.objects import State

from flows.endings import gave_up, stopped
from slipway.outcomes import Plan
from tasks.attempts import Cancelled, attempt
from tasks.hold import held
from tasks.look import look_where_it_stands, out_of_resumes


def while_wanted(work: Callable[[], State[str]], left: str) -> State[str]:
    """Work that holds nothing, until it is cancelled; `left` says what that may leave behind."""
    with attempt():
        try:
            return work()
        except Cancelled as cancelled:
            return stopped(cancelled, left)


def while_held(change: str, read: Callable[[str], Plan], work: Callable[[Plan], State[str]]) -> State[str]:
    """Read the plan, do the work while its service is held; a run that has crashed too often only looks and ends."""
    with attempt() as current:
        if out_of_resumes(current):
            return gave_up(current.resumes, look_where_it_stands(change), change)
        try:
            plan = read(change)
            with held(plan):
                return work(plan)
        except Cancelled as cancelled:
            return stopped(cancelled, "Nothing had been changed.")
