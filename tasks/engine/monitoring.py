"""Somebody watches a service while a step changes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime

from slipway.config.plan import Plan
from slipway.core.errors import Unavailable
from slipway.core.frozen import ANONYMOUS, RouteAs
from slipway.measurement.monitor import watching
from slipway.measurement.samples import MonitorResult
from slipway.tasks.engine.attempts import own_store
from slipway.tasks.measure import probe_lock

ALONE_WITHIN_S = 1.0  # then the step begins without anybody watching


@contextmanager
def watched(plan: Plan, step: str, *, signed_in_only: bool = False) -> Iterator[Callable[[], MonitorResult | None]]:
    """While the block lasts, the change's targets and controls are asked for; the function then tells what was seen.

    `signed_in_only` leaves out the pages that a cache may keep: reading them would fill it. None where no route is left.
    """
    routes = _routes(plan, signed_in_only)
    if not routes:
        yield lambda: None
        return
    with ExitStack() as stack:
        try:
            stack.enter_context(probe_lock(own_store(), plan.service, ALONE_WITHIN_S))
        except Unavailable:
            told = MonitorResult(
                step=step, started_at=datetime.now(UTC), seconds=0, because="another probe is at the service"
            )
            yield lambda: told
        else:
            yield stack.enter_context(watching(plan.service, routes, step))


def _routes(plan: Plan, signed_in_only: bool) -> Sequence[RouteAs]:
    found = []
    for pair in plan.change.pairs():
        found.append(RouteAs(route=pair.route, identity=pair.identity))
        found.append(RouteAs(route=pair.control_route, identity=pair.control_identity))
    return [item for item in dict.fromkeys(found) if not signed_in_only or item.identity != ANONYMOUS]
