from slipway.caching import purge as steps
from slipway.caching.outcomes import Purged
from slipway.config.plan import Plan
from slipway.config.service import Service
from slipway.core.settings import Settings
from slipway.tasks.engine.durable import durable
from slipway.tasks.engine.monitoring import monitored


@durable("purge and verify", acts_on=lambda plan: plan.service.name)
def purge(plan: Plan, *, label: str) -> Purged | None:
    """Purge the change's routes and tags, and verify by reading. If repeated, it purges again: one more read at the origin."""
    if plan.change.purge is None:
        return None
    with monitored(plan, "the purge", signed_in_only=True) as monitor_result:
        purged = steps.purge_change(plan, Settings.from_environment().config.parent)
    return None if purged is None else purged.model_copy(update={"watched": monitor_result()})


@durable("purge routes")
def purge_routes(service: Service, routes: list[str], tags: list[str]) -> Purged:
    """Purge the given routes and tags, and verify by reading. If repeated, it purges again: one more read at the origin."""
    return steps.purge_routes(service, routes, tags)
