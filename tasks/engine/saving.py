"""Keeping what a step leaves behind in Slipway's store, while Prefect writes its own result of it.

Two places, of which either is enough after a crash: Prefect's result, with which a finished step is not run again,
and our outcome, which people read. Our database takes about as long to have something safely on its disk as Prefect
takes for the rest, so it does so meanwhile. A step is over once both are: the next one begins behind that.
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

TRIES, EVERY_S = 30, 1.0

_under_way: dict[str, ExitStack] = {}


def start_saving(step: str, outcome: object) -> None:
    """Begin to keep what a step left behind; `wait_saved` has to follow."""
    with suppress(Unavailable), ExitStack() as stack:  # while the store is away nothing is under way
        stack.enter_context(own_store().keeping(*_row(step, outcome)))
        _under_way[step] = stack.pop_all()


def wait_saved(step: str, outcome: object) -> None:
    """Wait until the store has what the step left behind. Raises Unavailable when the store stays away.

    Nothing is under way for a step that is not run again, as Prefect has its result: it may have crashed before the
    store had it.
    """
    under_way = _under_way.pop(step, None)
    for left in reversed(range(TRIES)):
        try:
            if under_way is not None:
                under_way.close()
            elif own_store().outcome_of(run_id(), step) is None:
                own_store().keep(*_row(step, outcome))
            return
        except Unavailable as away:
            if not left:
                raise
            get_run_logger().warning("the outcome of %s is not kept yet: %s", step, away)
        under_way = None
        time.sleep(EVERY_S)


def kept_by_an_earlier_attempt(step: str) -> Outcome | None:
    """What this step of this run left behind before a crash, when its Prefect result could not be kept (a full disk)."""
    return own_store().outcome_of(run_id(), step) if resumed() else None


def keep_failure(step: str, error: SlipwayError) -> None:
    """Keep a failure in the words that a person reads."""
    body = {"failed": error.failed, "expected": error.expected, "retry_is_safe": error.retry_is_safe}
    own_store().keep(run_id(), f"{step} failed", "Failure", body)


def _row(step: str, outcome: object) -> tuple[str, str, str, object]:
    kind = type(outcome).__name__ if isinstance(outcome, BaseModel) else "note"
    return run_id(), step, kind, to_jsonable_python(outcome)
