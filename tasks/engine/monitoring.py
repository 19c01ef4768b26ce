"""Monitor a service while a step changes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime

from slipway.config.plan import Plan
from slipway.core.errors import Unavailable
from slipway.core.frozen import ANONYMOUS, RouteAs
from slipway.measurement.monitor import monitoring
from slipway.measurement.samples import MonitorResult
from slipway.tasks.engine.attempts import own_store
from slipway.tasks.measure import probe_lock

PROBE_LOCK_TIMEOUT_S = 1.0  # after that the step starts without a monitor


@contextmanager
def monitored(plan: Plan, step: str, *, signed_in_only: bool = False) -> Iterator[Callable[[], MonitorResult | None]]:
    """Request the change's targets and controls within the block. After it, the yielded function returns the result.

    `signed_in_only` skips the pages that a cache may store, because reading them would fill the cache. The result is None
    if no route is left.
    """
    routes = _routes(plan, signed_in_only)
    if not routes:
        yield lambda: None
        return
    with ExitStack() as stack:
        try:
            stack.enter_context(probe_lock(own_store(), plan.service, PROBE_LOCK_TIMEOUT_S))
        except Unavailable:
            not_monitored = MonitorResult(
                step=step, started_at=datetime.now(UTC), seconds=0, because="another probe of the service is running"
            )
            yield lambda: not_monitored
        else:
            yield stack.enter_context(monitoring(plan.service, routes, step))


def _routes(plan: Plan, signed_in_only: bool) -> Sequence[RouteAs]:
    routes = []
    for pair in plan.change.pairs():
        routes.append(RouteAs(route=pair.route, identity=pair.identity))
        routes.append(RouteAs(route=pair.control_route, identity=pair.control_identity))
    return [route for route in dict.fromkeys(routes) if not signed_in_only or route.identity != ANONYMOUS]
