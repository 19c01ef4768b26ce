"""Rehearse a change on a copy of the live database, and touch nothing live."""

from __future__ import annotations

from functools import partial

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from slipway.config.change import ChangeName
from slipway.config.plan import Plan
from slipway.flows.card import card
from slipway.flows.service_hold import give_up_on, while_held
from slipway.shipping.decide import decide_on_rehearsal
from slipway.shipping.rehearsal_report import way_back_words
from slipway.tasks.rehearse import rehearse
from slipway.tasks.validate import validate

CARD = card(
    "Rehearses a change's migration on a copy of the live database: up, down and up again, with a report. Ships nothing.",
    owner="the owner named in the change file",
    expected="What the way back is worth, and every finding that would stop the change or that its owner should read.",
    rollback="Nothing to undo: the copy is dropped.",
)


@flow(name="rehearse-change", flow_run_name="rehearse-change {change}", description=CARD)
def rehearse_change(change: ChangeName) -> State[str]:
    """Validate, rehearse, report. The service is held, so that nothing moves the live database meanwhile.

    Args:
        change: the folder below changes/
    """
    return while_held(partial(validate, change), report, partial(give_up_on, change, False))


def report(plan: Plan) -> State[str]:
    """The rehearsal, and an end that says whether the change could be shipped."""
    rehearsal = rehearse(plan)
    rejected = decide_on_rehearsal(rehearsal, plan.change.rehearse.accept)
    if rejected is not None:
        return Failed(name="NotFit", message=rejected.reason)
    return Completed(name="Rehearsed", message=way_back_words(rehearsal), data="rehearsed")
