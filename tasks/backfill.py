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
    """Hold a backfill against its service and table. Repeated, it only reads again: it changes nothing."""
    return steps.validate(change, Settings.from_environment())


@durable("backfill", acts_on=lambda plan: plan.service.name, interruptible=True)
def backfill(plan: BackfillPlan) -> Backfilled:
    """Change the rows batch by batch. Repeated, it goes on from the cursor that moved with the last batch."""
    teller = ProgressReporter()
    try:
        return steps.backfill(plan, Settings.from_environment().changes, teller, paused_by)
    finally:
        teller.end()


def how_far(plan: BackfillPlan) -> str:
    """How far a backfill is, in a sentence; reads only, so it is no durable step."""
    try:
        return steps.how_far(plan)
    except SlipwayError as error:
        return f"How far it is could not be seen: {error.failed}"


def look_how_far(change: str) -> str:
    """The same for a run that will not go on, and the end of its hold."""
    try:
        plan = steps.read_plan(change, Settings.from_environment())
        own_store().release(plan.service.name, run_id())
    except SlipwayError as error:
        return f"How far it is could not be seen: {error.failed}"
    return how_far(plan)


class ProgressReporter:
    """Keeps the progress for the admin service, moves the bar in the Prefect UI, and logs when it holds or goes on."""

    def __init__(self) -> None:
        self._held_because = ""
        self._bar = ProgressBar()

    def __call__(self, progress: BackfillProgress) -> None:
        """Tell one progress; that our own store is away is no reason to stop."""
        log = get_run_logger()
        if progress.held_because != self._held_because:
            log.info("holding: %s", progress.held_because) if progress.held_because else log.info("going on")
            self._held_because = progress.held_because
        self._bar.show(progress)
        try:
            own_store().keep(run_id(), PROGRESS, "BackfillProgress", to_jsonable_python(progress))
        except Unavailable as error:
            log.warning("the progress could not be kept: %s", error.failed)

    def end(self) -> None:
        """Let the bar come to where the work ended."""
        self._bar.end()
