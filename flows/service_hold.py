"""The frame of every job on a service: fence earlier attempts, take the service lock, end cleanly after a cancellation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from prefect.client.schemas.objects import State

from slipway.config.plan import OnService, roll_back_command
from slipway.flows.endings import cancelled_state, gave_up
from slipway.tasks.engine.attempts import Cancelled, attempt
from slipway.tasks.engine.run_artifacts import linked
from slipway.tasks.hold import service_lock
from slipway.tasks.look import out_of_resumes, release_and_describe_revision

Planned = TypeVar("Planned", bound=OnService)


def run_cancellable(work: Callable[[], State[str]], effects: str) -> State[str]:
    """Run `work`, which needs no service lock; `effects` says what a cancelled run may have changed."""
    with attempt() as current, linked(current):
        try:
            return work()
        except Cancelled as cancelled:
            return cancelled_state(cancelled, effects)


def give_up_on(change: str, staging: bool, resumes: int) -> State[str]:
    """Return the final state of a run that crashed too often: the revision of the database, and the rollback command."""
    next_step = f"To roll the change back, run: {roll_back_command(change, staging)}"
    return gave_up(resumes, release_and_describe_revision(change, staging), next_step)


def run_with_service_lock(
    read: Callable[[], Planned], work: Callable[[Planned], State[str]], give_up: Callable[[int], State[str]]
) -> State[str]:
    """Read the plan and do the work under the service lock. A run that crashed too often only reports and ends."""
    with attempt() as current, linked(current):
        if out_of_resumes(current):
            return give_up(current.resumes)
        try:
            plan = read()
            with service_lock(plan):
                return work(plan)
        except Cancelled as cancelled:
            return cancelled_state(cancelled, "Nothing was changed.")
