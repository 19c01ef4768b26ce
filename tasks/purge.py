from slipway.outcomes import Plan, Purged
from slipway.service import Service
from slipway.steps import purge as steps
from tasks.durable import durable


@durable("purge and verify", acts_on=lambda plan: plan.service.name)
def purge(plan: Plan, *, label: str) -> Purged | None:
    """Purge what the change names and verify by reading. Repeated, it purges again, which costs the origin one read."""
    return steps.purge_change(plan)


@durable("purge routes")
def purge_routes(service: Service, routes: list[str], tags: list[str]) -> Purged:
    """Purge named routes and tags and verify by reading. Repeated, it purges again, which costs the origin one read."""
    return steps.purge_routes(service, routes, tags)
