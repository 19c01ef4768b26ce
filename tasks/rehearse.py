from slipway.config.plan import Plan
from slipway.core.settings import Settings
from slipway.migrations import rehearse as steps
from slipway.migrations.outcomes import Rehearsal
from slipway.tasks.engine.durable import durable


@durable("rehearse")
def rehearse(plan: Plan) -> Rehearsal:
    """Upgrade, downgrade and upgrade a copy of the live database. If repeated, it drops a left-over copy and copies again."""
    return steps.rehearse(plan, Settings.from_environment().config.parent)
