"""Save a step's outcome in Slipway's store while Prefect writes its own result.

After a crash, either of the two is enough: with Prefect's result a finished step is not run again, and users read
Slipway's outcome. A commit in Slipway's database takes about as long as Prefect takes for its result, so both run at
the same time. A step ends when both are written, and the next step starts after that.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress

from prefect.logging import get_run_logger
from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from slipway.core.errors import SlipwayError, Unavailable
from slipway.runs.store import Outcome
from slipway.tasks.engine.attempts import own_store, resumed, run_id

ATTEMPTS, RETRY_EVERY_S = 30, 1.0

_pending: dict[str, ExitStack] = {}


def start_saving(step: str, outcome: object) -> None:
    """Start to save a step's outcome. A call of `wait_saved` must follow."""
    with suppress(Unavailable), ExitStack() as stack:  # without the store, `wait_saved` saves the outcome
        stack.enter_context(own_store().saving(*_row(step, outcome)))
        _pending[step] = stack.pop_all()


def wait_saved(step: str, outcome: object) -> None:
    """Wait until the store has the step's outcome. Raises Unavailable if the store stays unavailable.

    A step that is not run again, because Prefect has its result, has no pending save. Its process may have crashed
    before the store had the outcome.
    """
    pending = _pending.pop(step, None)
    for attempts_left in reversed(range(ATTEMPTS)):
        try:
            if pending is not None:
                pending.close()
            elif own_store().outcome_of(run_id(), step) is None:
                own_store().save(*_row(step, outcome))
            return
        except Unavailable as error:
            if not attempts_left:
                raise
            get_run_logger().warning("Could not save the outcome of %s yet: %s", step, error)
        pending = None
        time.sleep(RETRY_EVERY_S)


def saved_by_earlier_attempt(step: str) -> Outcome | None:
    """Return the outcome that an earlier attempt saved. Needed if Prefect could not save its result (a full disk)."""
    return own_store().outcome_of(run_id(), step) if resumed() else None


def save_failure(step: str, error: SlipwayError) -> None:
    """Save a failure with the texts that users read."""
    body = {"failed": error.failed, "expected": error.expected, "retry_is_safe": error.retry_is_safe}
    own_store().save(run_id(), f"{step} failed", "Failure", body)


def _row(step: str, outcome: object) -> tuple[str, str, str, object]:
    kind = type(outcome).__name__ if isinstance(outcome, BaseModel) else "note"
    return run_id(), step, kind, to_jsonable_python(outcome)
