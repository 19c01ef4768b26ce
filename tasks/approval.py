from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from pydantic import Field

from slipway.config.plan import Plan
from slipway.runs.attempts import ANSWERED_FOR_S
from slipway.shipping.outcomes import Approval
from slipway.tasks.engine.attempts import check_cancelled

HOUR_S = 3_600


class ApprovalInput(RunInput):
    """The approval form, filled in through the Prefect UI or the admin service."""

    approved: bool
    by: str = Field(min_length=2, max_length=200, description="name of the person who decides")
    why: str = Field(min_length=2, max_length=2_000, description="reason, shown in the record")


def wait_for_approval(plan: Plan) -> Approval | None:
    """Suspend the run until a person approves or rejects it, or return None if the change needs no approval.

    The process of the run ends while the run is suspended. If nobody answers in time, a worker rejects the change
    (deployments/worker/resuming.py), so that the record is written.

    Not a durable step: Prefect stores the answer, and the code before the approval runs again with its steps cached.
    """
    if plan.change.approval == "none":
        return None
    check_cancelled()
    timeout_s = round(plan.change.approval_within_h * HOUR_S) + ANSWERED_FOR_S
    answer = suspend_flow_run(wait_for_input=ApprovalInput, key="approval", timeout=timeout_s)
    return Approval(approved=answer.approved, by=answer.by, why=answer.why)
