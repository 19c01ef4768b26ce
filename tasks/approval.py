from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from pydantic import Field

from slipway.config.plan import Plan
from slipway.runs.attempts import ANSWERED_FOR_S
from slipway.shipping.outcomes import Approval
from slipway.tasks.engine.attempts import check_cancelled

HOUR_S = 3_600


class ApprovalInput(RunInput):
    """The form that a person fills in, in the Prefect UI or through the admin service."""

    approved: bool
    by: str = Field(min_length=2, max_length=200, description="who says so")
    why: str = Field(min_length=2, max_length=2_000, description="the reason; it stands in the record")


def wait_for_approval(plan: Plan) -> Approval | None:
    """Suspend the run until a person has said yes or no; its process ends meanwhile. None when nobody need be asked.

    When nobody answers in time, a worker answers no (deployments/worker/resuming.py), so that the record is written.

    Not a durable step: Prefect keeps the answer itself, and the code before it runs again with its steps cached.
    """
    if plan.change.approval == "none":
        return None
    check_cancelled()
    timeout_s = round(plan.change.approval_within_h * HOUR_S) + ANSWERED_FOR_S
    answer = suspend_flow_run(wait_for_input=ApprovalInput, key="approval", timeout=timeout_s)
    return Approval(approved=answer.approved, by=answer.by, why=answer.why)
