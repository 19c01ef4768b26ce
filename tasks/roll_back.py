from slipway.config.plan import Plan
from slipway.core.settings import Settings
from slipway.migrations import roll_back as steps
from slipway.migrations.outcomes import Rehearsal, Reverted
from slipway.tasks.engine.durable import durable


@durable("roll back", acts_on=lambda plan: plan.service.name)
def roll_back(plan: Plan, rehearsal: Rehearsal | None = None) -> Reverted:
    """Downgrade the live database. If repeated after the downgrade, it does nothing and reports that."""
    return steps.roll_back(plan, Settings.from_environment().config.parent, rehearsal)
