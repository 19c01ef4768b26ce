"""The final state of a run in Prefect. The name of the state is the outcome of the change."""

from __future__ import annotations

from prefect.client.schemas.objects import State
from prefect.states import Cancelled as CancelledState
from prefect.states import Completed, Failed

from slipway.config.plan import Plan
from slipway.shipping.outcomes import Decision
from slipway.tasks.engine.attempts import Cancelled

NAMES = {"keep": "Kept", "roll back": "RolledBack", "freeze": "Frozen", "reject": "Rejected"}


def final_state(decision: Decision, cancelled_by: str) -> State[str]:
    """Return the final state for a decision.

    A frozen change needs a person, so its state is failed. Prefect accepts only a cancelled state for a cancelled run.
    """
    name, message = NAMES[decision.word], decision.reason
    if cancelled_by or decision.word == "reject":
        return CancelledState(name=name, message=message)
    if decision.word == "freeze":
        return Failed(name=name, message=message)
    return Completed(name=name, message=message, data=decision.word)


def cancelled_state(cancelled: Cancelled, effects: str) -> State[str]:
    """Return the final state of a cancelled run; `effects` says what the run has changed."""
    return CancelledState(message=f"{cancelled.failed} {effects}")


def rollback_failed(plan: Plan, error: Exception) -> State[str]:
    """Return the most urgent final state: the change is live or partly rolled back, and a person has to continue."""
    return Failed(
        name="RollBackFailed",
        message=f"THE ROLLBACK OF {plan.name} FAILED on {plan.service.name}. {error} "
        f"Fix the cause, then run: {plan.rollback_command}",
    )


def not_recorded(outcome: str, reason: str, error: Exception) -> State[str]:
    """Return the final state of a run that finished its work but could not write the record."""
    return Failed(name="NotRecorded", message=f"{outcome}, but the record was not written: {error} {reason}")


def gave_up(resumes: int, position: str, next_step: str) -> State[str]:
    """Return the final state of a run that crashed too often: the state of the service, and what a person can do."""
    return Failed(
        name="GaveUp",
        message=f"The run crashed {resumes} times and was not resumed again. {position} {next_step}".strip(),
    )
