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

CRASHED_FOR_GOOD = timedelta(minutes=10)  # a worker resumes a crashed run long before that


@contextmanager
def service_lock(plan: OnService) -> Iterator[None]:
    """Hold the service lock within the block. A run that is suspended, killed or crashes keeps the lock."""
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
    """Acquire the service lock for this run, and tag the run. If repeated, the run already holds the lock."""
    store, service = own_store(), plan.service.name
    _tag_run(f"service:{service}", f"change:{plan.name}")
    hold = store.acquire(service, run_id(), plan.name)
    if hold.run_id != run_id() and _is_over(hold.run_id):
        get_run_logger().warning("Released the service lock of %s: run %s has ended", service, hold.run_id)
        store.release(service, hold.run_id)
        hold = store.acquire(service, run_id(), plan.name)
    if hold.run_id != run_id():
        raise SlipwayError(
            f"Run {hold.run_id} ({hold.change}) has held the service lock of {service} since {hold.since:%H:%M:%S} UTC.",
            expected="Only one run at a time changes a service. Wait until that run has ended.",
            retry_is_safe=True,
        )
    return f"This run holds the service lock of {service}."


@durable("release the service")
def release_service(plan: OnService) -> str:
    """Release the service lock. If repeated, the run no longer holds the lock and the step does nothing."""
    service = plan.service.name
    released = own_store().release(service, run_id())
    return (
        f"Released the service lock of {service}."
        if released
        else f"This run did not hold the service lock of {service}."
    )


def _is_over(holder: str) -> bool:
    """Return whether the run that holds the lock has ended and will not be resumed, or is unknown to Prefect."""
    with get_client(sync_client=True) as client:
        try:
            state = client.read_flow_run(UUID(holder)).state
        except ObjectNotFound:
            return True
    if state is None or not state.is_final():
        return False
    return not state.is_crashed() or datetime.now(UTC) - state.timestamp > CRASHED_FOR_GOOD


def _tag_run(*new: str) -> None:
    """Add tags to the run. A run that was started in the Prefect UI has no tags yet."""
    with get_client(sync_client=True) as client:
        tags = client.read_flow_run(UUID(run_id())).tags
        client.update_flow_run(UUID(run_id()), tags=sorted({*tags, *new}))
