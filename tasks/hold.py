from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect import get_client
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger

from slipway.config.plan import OnService
from slipway.core.errors import SlipwayError
from slipway.tasks.engine.attempts import own_store, run_id, shield
from slipway.tasks.engine.durable import durable

CRASHED_FOR_GOOD = timedelta(minutes=10)  # a crashed run is resumed long before


@contextmanager
def held(plan: OnService) -> Iterator[None]:
    """Hold the service while a change is on its way; a run that pauses, is killed or crashes keeps the hold."""
    hold_service(plan)
    try:
        yield
    except Exception:
        with shield():
            release_service(plan)
        raise
    with shield():
        release_service(plan)


@durable("hold the service")
def hold_service(plan: OnService) -> str:
    """Take the one hold of a service for this run, and tag the run. Repeated, it finds the hold to be its own already."""
    store, service = own_store(), plan.service.name
    _tag_run(f"service:{service}", f"change:{plan.name}")
    hold = store.acquire(service, run_id(), plan.name)
    if hold.run_id != run_id() and _is_over(hold.run_id):
        get_run_logger().warning("released the hold of %s: run %s has ended", service, hold.run_id)
        store.release(service, hold.run_id)
        hold = store.acquire(service, run_id(), plan.name)
    if hold.run_id != run_id():
        raise SlipwayError(
            f"Service {service} is held by run {hold.run_id} for {hold.change} since {hold.since:%H:%M:%S} UTC.",
            expected="One change at a time; wait until that run has ended.",
            retry_is_safe=True,
        )
    return f"{service} is held by this run"


@durable("release the service")
def release_service(plan: OnService) -> str:
    """Give up the hold. Repeated, it finds that it has none and does nothing."""
    had = own_store().release(plan.service.name, run_id())
    return f"{plan.service.name} is free" if had else f"{plan.service.name} was not held by this run"


def _is_over(holder: str) -> bool:
    """Whether the run that has the hold has ended and will not be resumed, or is unknown to Prefect."""
    with get_client(sync_client=True) as client:
        try:
            state = client.read_flow_run(UUID(holder)).state
        except ObjectNotFound:
            return True
    if state is None or not state.is_final():
        return False
    return not state.is_crashed() or datetime.now(UTC) - state.timestamp > CRASHED_FOR_GOOD


def _tag_run(*new: str) -> None:
    """Add tags to the run; one that was started in the Prefect UI has none yet."""
    with get_client(sync_client=True) as client:
        known = client.read_flow_run(UUID(run_id())).tags
        client.update_flow_run(UUID(run_id()), tags=sorted({*known, *new}))
