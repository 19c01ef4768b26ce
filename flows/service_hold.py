"""What every job does that changes a service: fence earlier attempts, hold the service, end well when it is cancelled."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from prefect.client.schemas.objects import State

from slipway.config.plan import OnService, roll_back_command
from slipway.flows.endings import gave_up, stopped
from slipway.tasks.engine.attempts import Cancelled, attempt
from slipway.tasks.engine.run_artifacts import linked
from slipway.tasks.hold import held
from slipway.tasks.look import look_where_it_stands, out_of_resumes

Planned = TypeVar("Planned", bound=OnService)


def while_wanted(work: Callable[[], State[str]], left: str) -> State[str]:
    """Work that holds nothing, until it is cancelled; `left` says what that may leave behind."""
    with attempt() as current, linked(current):
        try:
            return work()
        except Cancelled as cancelled:
            return stopped(cancelled, left)


def give_up_on(change: str, staging: bool, resumes: int) -> State[str]:
    """The end of a run that kept crashing: where its change stands, and the way back."""
    by_hand = f"To be where the change began: {roll_back_command(change, staging)}"
    return gave_up(resumes, look_where_it_stands(change, staging), by_hand)


def while_held(
    read: Callable[[], Planned], work: Callable[[Planned], State[str]], give_up: Callable[[int], State[str]]
) -> State[str]:
    """Read the plan, do the work while its service is held; a run that has crashed too often only looks and ends."""
    with attempt() as current, linked(current):
        if out_of_resumes(current):
            return give_up(current.resumes)
        try:
            plan = read()
            with held(plan):
                return work(plan)
        except Cancelled as cancelled:
            return stopped(cancelled, "Nothing had been changed.")
