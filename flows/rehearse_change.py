"""Rehearse a change on a copy of the live database. The live database is not changed."""

from __future__ import annotations

from functools import partial

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from slipway.config.change import ChangeName
from slipway.config.plan import Plan
from slipway.flows.card import card
from slipway.flows.service_hold import give_up_on, run_with_service_lock
from slipway.shipping.decide import decide_on_rehearsal
from slipway.shipping.rehearsal_report import format_reversibility
from slipway.tasks.rehearse import rehearse
from slipway.tasks.validate import validate

CARD = card(
    "Rehearses a change's migration on a copy of the live database: upgrade, downgrade, upgrade. Ships nothing.",
    owner="the owner named in the change file",
    expected="A report: whether the downgrade restores the database, and every finding that blocks the change or is a warning.",
    rollback="Nothing to undo: the copy is dropped.",
)


@flow(name="rehearse-change", flow_run_name="rehearse-change {change}", description=CARD)
def rehearse_change(change: ChangeName) -> State[str]:
    """Validate, rehearse, report. The run holds the service lock, so that no other run changes the live database.

    Args:
        change: the folder below changes/
    """
    return run_with_service_lock(partial(validate, change), report, partial(give_up_on, change, False))


def report(plan: Plan) -> State[str]:
    """Rehearse the change, and return a final state that says whether the change can be shipped."""
    rehearsal = rehearse(plan)
    rejected = decide_on_rehearsal(rehearsal, plan.change.rehearse.accept)
    if rejected is not None:
        return Failed(name="NotFit", message=rejected.reason)
    return Completed(name="Rehearsed", message=format_reversibility(rehearsal), data="rehearsed")
