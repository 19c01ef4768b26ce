from slipway.config.plan import Plan
from slipway.shipping import inspect as steps
from slipway.shipping.outcomes import Inspection
from slipway.tasks.engine.durable import durable


@durable("inspect headers")
def inspect_headers(plan: Plan) -> Inspection:
    """Read the change's routes and check their caching headers. If repeated, it only reads again."""
    return steps.inspect_headers(plan)
