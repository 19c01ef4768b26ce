from prefect.logging import get_run_logger
from pydantic_core import to_jsonable_python

from slipway.backfilling import backfill as steps
from slipway.backfilling.outcomes import Backfilled, BackfillPlan, BackfillProgress
from slipway.core.errors import SlipwayError, Unavailable
from slipway.core.settings import Settings
from slipway.tasks.engine.attempts import own_store, paused_by, run_id
from slipway.tasks.engine.durable import durable
from slipway.tasks.engine.run_artifacts import ProgressBar

PROGRESS = "backfill progress"


@durable("read backfill")
def read_backfill(change: str) -> BackfillPlan:
    """Check a backfill against its service and table. If repeated, it only reads again."""
    return steps.validate(change, Settings.from_environment())


@durable("backfill", acts_on=lambda plan: plan.service.name, interruptible=True)
def backfill(plan: BackfillPlan) -> Backfilled:
    """Change the rows batch by batch. If repeated, it continues from the cursor, which is saved with each batch."""
    reporter = ProgressReporter()
    try:
        return steps.backfill(plan, Settings.from_environment().changes, reporter, paused_by)
    finally:
        reporter.end()


def describe_progress(plan: BackfillPlan) -> str:
    """Return the progress of a backfill as a sentence. Reads only, so it is not a durable step."""
    try:
        return steps.describe_progress(plan)
    except SlipwayError as error:
        return f"Could not read the progress of the backfill: {error.failed}"


def release_and_describe(change: str) -> str:
    """Release the service lock of a run that does not continue, and return the progress of its backfill as a sentence."""
    try:
        plan = steps.read_plan(change, Settings.from_environment())
        own_store().release(plan.service.name, run_id())
    except SlipwayError as error:
        return f"Could not read the progress of the backfill: {error.failed}"
    return describe_progress(plan)


class ProgressReporter:
    """Saves the progress for the admin service, moves the bar in the Prefect UI, and logs when the backfill holds."""

    def __init__(self) -> None:
        self._held_because = ""
        self._bar = ProgressBar()

    def __call__(self, progress: BackfillProgress) -> None:
        """Report the progress. If Slipway's store is unavailable, log that and continue."""
        log = get_run_logger()
        if progress.held_because != self._held_because:
            log.info("holding: %s", progress.held_because) if progress.held_because else log.info("continuing")
            self._held_because = progress.held_because
        self._bar.show(progress)
        try:
            own_store().save(run_id(), PROGRESS, "BackfillProgress", to_jsonable_python(progress))
        except Unavailable as error:
            log.warning("Could not save the progress: %s", error.failed)

    def end(self) -> None:
        """Move the bar to the final progress."""
        self._bar.end()
