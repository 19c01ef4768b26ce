from slipway.caching.outcomes import Purged
from slipway.config.plan import Plan
from slipway.core.settings import Settings
from slipway.migrations.outcomes import Reverted
from slipway.runs.shipments import Shipments
from slipway.shipping import write_record as steps
from slipway.shipping.outcomes import Record
from slipway.shipping.record import ShipReport, rolled_back_later
from slipway.shipping.staging import note
from slipway.tasks.engine.attempts import own_store, run_id
from slipway.tasks.engine.durable import durable


@durable("record", acts_on=lambda story: story.plan.service.name)
def write_record(story: ShipReport) -> Record:
    """Write the record beside the change, and note a change that was kept. Repeated, both are as before."""
    if story.decided.word == "keep":
        note(Shipments(own_store()), run_id(), story.plan, "kept")
    return steps.write_record(story, Settings.from_environment())


@durable("record")
def append_to_record(plan: Plan, reverted: Reverted, purged: Purged | None) -> Record:
    """Add a later roll back to the change's record, and note it. Repeated, it replaces its own section."""
    if reverted.migration is None or reverted.migration.acted:
        note(Shipments(own_store()), run_id(), plan, "rolled back")
    return steps.append_to_record(plan, run_id(), rolled_back_later(reverted, purged), Settings.from_environment())
