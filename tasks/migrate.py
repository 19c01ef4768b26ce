from slipway.outcomes import Migration, Plan, Rehearsal
from slipway.settings import Settings
from slipway.steps import migrate as steps
from tasks.durable import durable


@durable("migrate", acts_on=lambda plan: plan.service.name, interruptible=True)
def migrate(plan: Plan, rehearsal: Rehearsal) -> Migration | None:
    """Move the live database to the wanted revision. Repeated, it sees that it already stands there and does nothing."""
    return steps.migrate(plan, Settings.from_environment().config.parent, rehearsal)
