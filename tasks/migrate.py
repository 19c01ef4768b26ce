from slipway.config.plan import Plan
from slipway.core.settings import Settings
from slipway.migrations import migrate as steps
from slipway.migrations.outcomes import Migration, Rehearsal
from slipway.tasks.engine.durable import durable
from slipway.tasks.engine.monitoring import monitored


@durable("migrate", acts_on=lambda plan: plan.service.name, interruptible=True)
def migrate(plan: Plan, rehearsal: Rehearsal) -> Migration | None:
    """Migrate the live database to the change's revision. If repeated, it does nothing if the database is at that revision."""
    if plan.change.migrate is None:
        return None
    with monitored(plan, "the migration") as monitor_result:
        migration = steps.migrate(plan, Settings.from_environment().config.parent, rehearsal)
    return None if migration is None else migration.model_copy(update={"watched": monitor_result()})
