"""Roll back a shipped change."""

from __future__ import annotations

from functools import partial

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from slipway.config.change import ChangeName, OnStaging
from slipway.config.plan import Plan
from slipway.flows.card import card
from slipway.flows.endings import not_recorded, rollback_failed
from slipway.flows.service_hold import give_up_on, run_with_service_lock
from slipway.tasks.engine.attempts import Cancelled, shield
from slipway.tasks.purge import purge
from slipway.tasks.record import append_to_record
from slipway.tasks.roll_back import roll_back
from slipway.tasks.validate import read_plan

CARD = card(
    "Rolls back a shipped change: downgrades the database with the service's migration tool, then purges the change's routes.",
    owner="the owner named in the change file",
    expected="The database is at the revision from which the change started. Running the job again changes nothing.",
    rollback="Ship the change again.",
)


@flow(name="roll-back-change", flow_run_name="roll-back-change {change}", description=CARD)
def roll_back_change(change: ChangeName, staging: OnStaging = False) -> State[str]:
    """Read the revision of the database, downgrade it, purge, record.

    Args:
        change: the folder below changes/
        staging: run on the staging service of the change's service
    """
    return run_with_service_lock(partial(read_plan, change, staging), undo, partial(give_up_on, change, staging))


def undo(plan: Plan) -> State[str]:
    """Roll back under the service lock. A rollback that has started always runs to its end."""
    try:
        reverted = roll_back(plan)
        with shield():
            purged = purge(plan, label="after the roll back")
    except Cancelled:
        raise
    except Exception as error:  # after any error a person has to act
        return rollback_failed(plan, error)
    try:
        with shield():
            append_to_record(plan, reverted, purged)
    except Exception as error:
        return not_recorded("RolledBack", reverted.sentence, error)
    return Completed(name="RolledBack", message=reverted.sentence, data=reverted.sentence)
