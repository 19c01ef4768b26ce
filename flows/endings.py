"""How a run ends in Prefect: the name of the state is what came of the change."""

from __future__ import annotations

from prefect.client.schemas.objects import State
from prefect.states import Cancelled as CancelledState
from prefect.states import Completed, Failed

from slipway.config.plan import Plan
from slipway.shipping.outcomes import Decision
from slipway.tasks.engine.attempts import Cancelled

NAMES = {"keep": "Kept", "roll back": "RolledBack", "freeze": "Frozen", "reject": "Rejected"}


def final_state(decision: Decision, cancelled_by: str) -> State[str]:
    """The end by decision. A frozen change needs a person, so it counts as failed; Prefect lets a cancelled run only end so."""
    name, message = NAMES[decision.word], decision.reason
    if cancelled_by or decision.word == "reject":
        return CancelledState(name=name, message=message)
    if decision.word == "freeze":
        return Failed(name=name, message=message)
    return Completed(name=name, message=message, data=decision.word)


def stopped(cancelled: Cancelled, left: str) -> State[str]:
    """The end of a run that was cancelled, and what it left behind."""
    return CancelledState(message=f"{cancelled.failed} {left}")


def failed_on_the_way_back(plan: Plan, error: Exception) -> State[str]:
    """The loudest end: the change is live or half undone, and a person has to go on by hand."""
    return Failed(
        name="RollBackFailed",
        message=f"THE ROLL BACK OF {plan.name} FAILED on {plan.service.name}. {error} "
        f"By hand, once that is mended: {plan.way_back}",
    )


def without_record(came_of_it: str, why: str, error: Exception) -> State[str]:
    """The end of a run that did all it was to do, but could not write it down."""
    return Failed(name="NotRecorded", message=f"{came_of_it}, without a record: {error} {why}")


def gave_up(resumes: int, stands: str, by_hand: str) -> State[str]:
    """The end of a run that kept crashing: where the service stands, and what a person can do."""
    return Failed(
        name="GaveUp",
        message=f"The run crashed {resumes} times and was not resumed again. {stands} {by_hand}".strip(),
    )
