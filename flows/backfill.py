"""Change the rows of one table in batches, slowly enough for the service."""

from __future__ import annotations

from functools import partial

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Cancelled as CancelledState
from prefect.states import Completed

from slipway.backfilling.outcomes import BackfillPlan
from slipway.config.change import ChangeName
from slipway.flows.card import card
from slipway.flows.endings import gave_up
from slipway.flows.service_hold import while_held
from slipway.tasks.backfill import backfill as change_rows
from slipway.tasks.backfill import how_far, look_how_far, read_backfill
from slipway.tasks.engine.attempts import Cancelled

CARD = card(
    "Changes the rows of one table in batches, each exactly once, and holds while the service or its database is not well.",
    owner="the owner named in the backfill file",
    expected="Every row done, or reported as skipped; a run that was cancelled or crashed goes on from its cursor.",
    rollback="As the backfill file says: rows that were changed stay changed.",
)


@flow(name="backfill", flow_run_name="backfill {change}", description=CARD)
def backfill(change: ChangeName) -> State[str]:
    """Hold the service, change the rows.

    Args:
        change: the folder below changes/ that holds a backfill.toml
    """
    return while_held(partial(read_backfill, change), fill, partial(give_up, change))


def fill(plan: BackfillPlan) -> State[str]:
    """The backfill while its service is held; when it is cancelled, what is done stays done."""
    try:
        done = change_rows(plan)
    except Cancelled as cancelled:
        return CancelledState(message=f"{cancelled.failed} {how_far(plan)}")
    message = f"{done.rows_passed:,} rows passed, {done.rows_changed:,} changed, {len(done.skipped):,} skipped"
    return Completed(name="Backfilled", message=message, data="backfilled")


def give_up(change: str, resumes: int) -> State[str]:
    """The end of a run that kept crashing."""
    return gave_up(resumes, look_how_far(change), "")
