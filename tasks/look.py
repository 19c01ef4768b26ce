from slipway.config.plan import Plan
from slipway.core.errors import SlipwayError
from slipway.core.settings import Settings
from slipway.migrations import current_revision as steps
from slipway.runs.attempts import MAX_RESUMES, Attempt
from slipway.shipping.validate import read_plan
from slipway.tasks.engine.attempts import own_store, run_id


def out_of_resumes(current: Attempt) -> bool:
    """Whether the run has crashed so often that it must not go on."""
    return current.resumes >= MAX_RESUMES


def has_begun(plan: Plan) -> bool:
    """Whether the database has left the revision from which the change starts; reads only. Raises SlipwayError."""
    return steps.has_begun(plan, Settings.from_environment().config.parent)


def look_where_it_stands(change: str, on_staging: bool) -> str:
    """Where the service stands, in a sentence, and the end of this run's hold; reads only, so it is no durable step."""
    settings = Settings.from_environment()
    try:
        plan = read_plan(change, settings, on_staging=on_staging)
        own_store().release(plan.service.name, run_id())
        return steps.where_it_stands(plan, settings.config.parent)
    except SlipwayError as error:
        return f"Where the service stands could not be seen: {error.failed}"
