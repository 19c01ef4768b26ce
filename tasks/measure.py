import logging
from contextlib import AbstractContextManager

from slipway.config.plan import Plan
from slipway.config.service import Service
from slipway.measurement import measure as steps
from slipway.measurement.probe import Progress
from slipway.measurement.samples import MeasuredWindow
from slipway.runs.store import Store
from slipway.tasks.engine.attempts import own_store
from slipway.tasks.engine.durable import durable

PROBED_WITHIN_S = 20.0  # short, as a cancel is heard between two tries; a step has thirty
logger = logging.getLogger("slipway.measure")


@durable("measure")
def measure(plan: Plan, *, label: str) -> MeasuredWindow:
    """Measure the targets and controls of a change. Repeated, it measures a new window: it changes nothing."""
    with _only_probe(plan.service):
        return steps.measure_change(plan, _by_quarters(label), first=label == "before")


@durable("measure service")
def measure_service(service: Service) -> MeasuredWindow:
    """Measure the routes that a service watches. Repeated, it measures a new window: it changes nothing."""
    with _only_probe(service):
        return steps.measure_service(service, _by_quarters(service.name))


def _only_probe(service: Service) -> AbstractContextManager[object]:
    """No two probes press one service at a time, and none measures the other. Raises Unavailable, which is tried again."""
    return probe_lock(own_store(), service, PROBED_WITHIN_S)


def probe_lock(store: Store, service: Service, within_s: float) -> AbstractContextManager[object]:
    """What whoever presses a service holds meanwhile. Raises Unavailable when another one does all the time."""
    return store.locked(f"probe of {service.name}", within_s)


def _by_quarters(label: str) -> Progress:
    told: set[int] = set()

    def tell(share: float) -> None:
        quarter = int(share * 4) * 25
        if quarter not in told:
            told.add(quarter)
            logger.info("measure %s: %d %%", label, quarter)

    return tell
