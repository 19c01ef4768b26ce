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


@durable("record", acts_on=lambda report: report.plan.service.name)
def write_record(report: ShipReport) -> Record:
    """Write the record next to the change, and save the shipment of a kept change. If repeated, it writes the same again."""
    if report.decided.word == "keep":
        note(Shipments(own_store()), run_id(), report.plan, "kept")
    return steps.write_record(report, Settings.from_environment())


@durable("record")
def append_to_record(plan: Plan, reverted: Reverted, purged: Purged | None) -> Record:
    """Add a later rollback to the change's record, and save it in the store. If repeated, it replaces its own section."""
    if reverted.migration is None or reverted.migration.acted:
        note(Shipments(own_store()), run_id(), plan, "rolled back")
    return steps.append_to_record(plan, run_id(), rolled_back_later(reverted, purged), Settings.from_environment())
