"""Change the rows of one table in batches, slowly enough not to disturb the service."""

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
from slipway.flows.service_hold import run_with_service_lock
from slipway.tasks.backfill import backfill as change_rows
from slipway.tasks.backfill import describe_progress, read_backfill, release_and_describe
from slipway.tasks.engine.attempts import Cancelled

CARD = card(
    "Changes each row of one table exactly once, in batches. Waits while a health limit is exceeded.",
    owner="the owner named in the backfill file",
    expected="Every row is changed or reported as skipped. After a cancellation or a crash, a run continues from the cursor.",
    rollback="See the backfill file. Rows that were changed stay changed.",
)


@flow(name="backfill", flow_run_name="backfill {change}", description=CARD)
def backfill(change: ChangeName) -> State[str]:
    """Take the service lock and change the rows.

    Args:
        change: the folder below changes/ that holds a backfill.toml
    """
    return run_with_service_lock(partial(read_backfill, change), run_backfill, partial(give_up, change))


def run_backfill(plan: BackfillPlan) -> State[str]:
    """Run the backfill under the service lock. After a cancellation, changed rows stay changed."""
    try:
        result = change_rows(plan)
    except Cancelled as cancelled:
        return CancelledState(message=f"{cancelled.failed} {describe_progress(plan)}")
    message = f"{result.rows_passed:,} rows passed, {result.rows_changed:,} changed, {len(result.skipped):,} skipped"
    return Completed(name="Backfilled", message=message, data="backfilled")


def give_up(change: str, resumes: int) -> State[str]:
    """Return the final state of a run that crashed too often."""
    return gave_up(resumes, release_and_describe(change), "")
