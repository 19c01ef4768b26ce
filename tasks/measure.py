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

PROBE_LOCK_TIMEOUT_S = 20.0  # short, because cancellation is checked between two of the thirty retries of a step
logger = logging.getLogger("slipway.measure")


@durable("measure")
def measure(plan: Plan, *, label: str) -> MeasuredWindow:
    """Measure the targets and controls of a change. If repeated, it measures a new window and changes nothing."""
    with _exclusive_probe(plan.service):
        return steps.measure_change(plan, _log_quarters(label), first=label == "before")


@durable("measure service")
def measure_service(service: Service) -> MeasuredWindow:
    """Measure the watched routes of a service. If repeated, it measures a new window and changes nothing."""
    with _exclusive_probe(service):
        return steps.measure_service(service, _log_quarters(service.name))


def _exclusive_probe(service: Service) -> AbstractContextManager[object]:
    """Allow one probe per service at a time, so that probes do not add up their load or measure each other.

    Raises Unavailable, which is retried.
    """
    return probe_lock(own_store(), service, PROBE_LOCK_TIMEOUT_S)


def probe_lock(store: Store, service: Service, within_s: float) -> AbstractContextManager[object]:
    """Return the lock that a probe of a service holds. Raises Unavailable if another probe holds it for `within_s` seconds."""
    return store.locked(f"probe of {service.name}", within_s)


def _log_quarters(label: str) -> Progress:
    logged: set[int] = set()

    def log(share: float) -> None:
        quarter = int(share * 4) * 25
        if quarter not in logged:
            logged.add(quarter)
            logger.info("measure %s: %d %%", label, quarter)

    return log
