from slipway.config.plan import Plan
from slipway.runs.shipments import Shipments
from slipway.shipping import staging as steps
from slipway.shipping.outcomes import Staged
from slipway.tasks.engine.attempts import own_store
from slipway.tasks.engine.durable import durable


@durable("look at staging")
def look_at_staging(plan: Plan) -> Staged:
    """See that the change was kept and rolled back on its staging service. Repeated, it only reads again."""
    return steps.look_at_staging(plan, Shipments(own_store()))
