from slipway.config.plan import Plan
from slipway.runs.shipments import Shipments
from slipway.shipping import staging as steps
from slipway.shipping.outcomes import Staged
from slipway.tasks.engine.attempts import own_store
from slipway.tasks.engine.durable import durable


@durable("look at staging")
def require_staged(plan: Plan) -> Staged:
    """Check that the change was kept and rolled back on its staging service. If repeated, it only reads again."""
    return steps.require_staged(plan, Shipments(own_store()))
