from slipway.config.plan import Plan
from slipway.core.settings import Settings
from slipway.migrations import migrate as steps
from slipway.migrations.outcomes import Migration, Rehearsal
from slipway.tasks.engine.durable import durable
from slipway.tasks.engine.monitoring import watched


@durable("migrate", acts_on=lambda plan: plan.service.name, interruptible=True)
def migrate(plan: Plan, rehearsal: Rehearsal) -> Migration | None:
    """Move the live database to the wanted revision. Repeated, it sees that it already stands there and does nothing."""
    if plan.change.migrate is None:
        return None
    with watched(plan, "the migration") as seen:
        migration = steps.migrate(plan, Settings.from_environment().config.parent, rehearsal)
    return None if migration is None else migration.model_copy(update={"watched": seen()})
