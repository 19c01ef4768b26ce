from slipway.outcomes import Record
from slipway.record import Story
from slipway.settings import Settings
from slipway.steps import record as steps
from tasks.attempts import run_id
from tasks.durable import durable


@durable("record", acts_on=lambda story: story.plan.service.name)
def write_record(story: Story) -> Record:
    """Write the record beside the change. Repeated, it writes the same text over itself."""
    return steps.write_record(story, Settings.from_environment())


@durable("record")
def append_to_record(change: str, text: str) -> Record:
    """Add a later roll back to the change's record. Repeated, it replaces its own section."""
    return steps.append_to_record(change, run_id(), text, Settings.from_environment())
