"""Roll a shipped change back."""

from __future__ import annotations

from functools import partial

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from slipway.config.change import ChangeName, OnStaging
from slipway.config.plan import Plan
from slipway.flows.card import card
from slipway.flows.endings import failed_on_the_way_back, without_record
from slipway.flows.service_hold import give_up_on, while_held
from slipway.tasks.engine.attempts import Cancelled, shield
from slipway.tasks.purge import purge
from slipway.tasks.record import append_to_record
from slipway.tasks.roll_back import roll_back
from slipway.tasks.validate import read_plan

CARD = card(
    "Rolls a shipped change back: the database by the service's own downgrade, then the purge of the change's routes.",
    owner="the owner named in the change file",
    expected="The database at the revision from which the change started; repeating it finds nothing left to do.",
    rollback="Ship the change again.",
)


@flow(name="roll-back-change", flow_run_name="roll-back-change {change}", description=CARD)
def roll_back_change(change: ChangeName, staging: OnStaging = False) -> State[str]:
    """Look where the database stands, move it back, purge, record.

    Args:
        change: the folder below changes/
        staging: on the staging service of the change's service
    """
    return while_held(partial(read_plan, change, staging), go_back, partial(give_up_on, change, staging))


def go_back(plan: Plan) -> State[str]:
    """The way back while the service is held; once begun it is gone to its end."""
    try:
        reverted = roll_back(plan)
        with shield():
            purged = purge(plan, label="after the roll back")
    except Cancelled:
        raise
    except Exception as error:  # whatever it was, a person has to know
        return failed_on_the_way_back(plan, error)
    try:
        with shield():
            append_to_record(plan, reverted, purged)
    except Exception as error:
        return without_record("RolledBack", reverted.sentence, error)
    return Completed(name="RolledBack", message=reverted.sentence, data=reverted.sentence)
