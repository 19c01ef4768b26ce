from slipway.adapters.shipments import Shipments
from slipway.outcomes import Plan, Staged
from slipway.steps import staging as steps
from tasks.attempts import own_store
from tasks.durable import durable


@durable("look at staging")
def look_at_staging(plan: Plan) -> Staged:
    """See that the change was kept and rolled back on its staging service. Repeated, it only reads again."""
    return steps.look_at_staging(plan, Shipments(own_store()))
