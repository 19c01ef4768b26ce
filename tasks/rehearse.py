from slipway.outcomes import Plan, Rehearsal
from slipway.settings import Settings
from slipway.steps import rehearse as steps
from tasks.durable import durable


@durable("rehearse")
def rehearse(plan: Plan) -> Rehearsal:
    """Upgrade, downgrade and upgrade a copy of the live database. Repeated, it drops what a dead try left and copies anew."""
    return steps.rehearse(plan, Settings.from_environment().config.parent)
