import logging

from slipway.adapters.probe import Progress
from slipway.measurement import MeasuredWindow
from slipway.outcomes import Plan
from slipway.service import Service
from slipway.steps import measure as steps
from tasks.durable import durable

logger = logging.getLogger("slipway.measure")


@durable("measure")
def measure(plan: Plan, *, label: str) -> MeasuredWindow:
    """Measure the targets and controls of a change. Repeated, it measures a new window: it changes nothing."""
    return steps.measure_change(plan, _by_quarters(label))


@durable("measure service")
def measure_service(service: Service) -> MeasuredWindow:
    """Measure the routes that a service watches. Repeated, it measures a new window: it changes nothing."""
    return steps.measure_service(service, _by_quarters(service.name))


def _by_quarters(label: str) -> Progress:
    told: set[int] = set()

    def tell(share: float) -> None:
        quarter = int(share * 4) * 25
        if quarter not in told:
            told.add(quarter)
            logger.info("measure %s: %d %%", label, quarter)

    return tell
