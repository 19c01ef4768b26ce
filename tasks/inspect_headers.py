from slipway.outcomes import Inspection, Plan
from slipway.steps import inspect as steps
from tasks.durable import durable


@durable("inspect headers")
def inspect_headers(plan: Plan) -> Inspection:
    """Read the change's routes and judge their caching headers. Repeated, it only reads again: it changes nothing."""
    return steps.inspect_headers(plan)
