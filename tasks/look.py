from slipway.config.plan import Plan
from slipway.core.errors import SlipwayError
from slipway.core.settings import Settings
from slipway.migrations import current_revision as steps
from slipway.runs.attempts import MAX_RESUMES, Attempt
from slipway.shipping.validate import read_plan
from slipway.tasks.engine.attempts import own_store, run_id


def out_of_resumes(current: Attempt) -> bool:
    """Return whether the run has crashed too often to continue."""
    return current.resumes >= MAX_RESUMES


def has_begun(plan: Plan) -> bool:
    """Return whether the database has left the revision from which the change starts. Reads only. Raises SlipwayError."""
    return steps.has_begun(plan, Settings.from_environment().config.parent)


def release_and_describe_revision(change: str, on_staging: bool) -> str:
    """Release the service lock, and return a sentence with the revision of the database. Not a durable step."""
    settings = Settings.from_environment()
    try:
        plan = read_plan(change, settings, on_staging=on_staging)
        own_store().release(plan.service.name, run_id())
        return steps.describe_revision(plan, settings.config.parent)
    except SlipwayError as error:
        return f"Could not read the revision of the database: {error.failed}"
