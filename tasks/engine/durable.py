"""Durable steps on Prefect: an explicit cache key, a JSON result on shared storage, and a retry policy.

When a run continues after a crash, finished steps are not run again. The interrupted step is repeated, so every step
checks the current state before it acts. Prefect's policy `RUN_ID + INPUTS` does not work as a cache key: it does not
contain the task's identity, so two steps with equal arguments would collide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import copy_context
from functools import wraps
from threading import Thread
from typing import Any, ParamSpec, TypeVar, get_type_hints

from prefect import Task
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.logging import get_run_logger
from prefect.runtime import task_run
from pydantic import TypeAdapter

from slipway.core import cancellation
from slipway.core.errors import SlipwayError, Unavailable
from slipway.core.settings import look_up_secrets_by
from slipway.tasks.engine.artifacts import is_shown, publish
from slipway.tasks.engine.attempts import Cancelled, check_cancelled, effect
from slipway.tasks.engine.saving import save_failure, saved_by_earlier_attempt, start_saving, wait_saved
from slipway.tasks.engine.secrets import secret_value

look_up_secrets_by(secret_value)
P = ParamSpec("P")
R = TypeVar("R")

SHOW_TIMEOUT_S = 5.0
RETRIES, RETRY_EVERY_S = 30, 1.0  # short waits, because cancellation is checked before each attempt


class Step(Task[P, R]):
    """A task that ends only after Slipway's store has its outcome."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:  # type: ignore[override]
        outcome: R = super().__call__(*args, **kwargs)
        wait_saved(step_name(self.name, kwargs), outcome)
        return outcome


def durable(
    name: str, *, acts_on: Callable[[Any], str] | None = None, interruptible: bool = False
) -> Callable[[Callable[P, R]], Step[P, R]]:
    """Make a function a durable step named `name`, plus its `label` for a step that a run takes more than once.

    The step's return value is saved in Slipway's store under that name and shown as Prefect artifacts. A SlipwayError
    is saved too, then raised. A step is finished only after the store has its outcome: Prefect continues if it
    cannot save a result, and repeating "measure before" after the migration would measure the wrong state. Only
    `Unavailable` is retried: every other error would occur again. `acts_on` returns the service from the step's first
    argument. A step with `acts_on` changes the service: it is fenced, and cancellation does not interrupt it, unless
    the step is `interruptible` and itself defines the points at which it can be interrupted.
    """

    def make(step: Callable[P, R]) -> Step[P, R]:
        @wraps(step)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            with _guarded(acts_on(args[0]) if acts_on else "", interruptible):
                return step(*args, **kwargs)

        return Step(
            _run_once(name, run),
            name=name,
            task_run_name=_task_run_name,
            cache_key_fn=_cache_key,
            persist_result=True,
            result_serializer="json",
            retries=RETRIES,
            retry_delay_seconds=RETRY_EVERY_S,
            retry_condition_fn=_is_transient,
        )

    return make


def _run_once(name: str, step: Callable[P, R]) -> Callable[P, R]:
    """Wrap a step so that its outcome is saved, and a later attempt returns the saved outcome."""

    @wraps(step)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        full_name = step_name(name, kwargs)
        saved = saved_by_earlier_attempt(full_name)
        if saved is not None:
            value: R = TypeAdapter(get_type_hints(step)["return"]).validate_python(saved.body)
            return value
        try:
            outcome = step(*args, **kwargs)
        except Cancelled:  # not a failure: the run's final state reports the user, the reason and the progress
            raise
        except SlipwayError as error:
            save_failure(full_name, error)
            raise
        start_saving(full_name, outcome)
        show(full_name, outcome)
        return outcome

    return run


@contextmanager
def _guarded(service: str, interruptible: bool) -> Iterator[None]:
    """Fence a step that acts on a service. Let cancellation interrupt a step that does not, or that is `interruptible`."""
    check_cancelled()
    with (
        effect(service) if service else nullcontext(),
        cancellation.interruptible(check_cancelled) if interruptible or not service else nullcontext(),
    ):
        yield


def step_name(name: str, parameters: dict[str, Any]) -> str:
    """Return a step's name, with its label if it has one: `measure before`."""
    return f"{name} {parameters['label']}" if parameters.get("label") else name


def show(step: str, outcome: object) -> None:
    """Show a step's outcome in the Prefect UI, and wait at most 5 s for that.

    An artifact that cannot be created must neither cause a rollback nor delay the run: Prefect's client retries for about
    a minute while the server is unavailable, and a bad change may be live.
    """
    if not is_shown(outcome):
        return
    thread = Thread(target=copy_context().run, args=(_show, step, outcome), name=f"show {step}", daemon=True)
    thread.start()
    thread.join(SHOW_TIMEOUT_S)


def _show(step: str, outcome: object) -> None:
    try:
        publish(step, outcome)
    except Exception:
        get_run_logger().warning("Could not show the outcome of %s as an artifact", step, exc_info=True)


def _task_run_name() -> str:
    return step_name(task_run.task_name, task_run.parameters)


def _cache_key(context: TaskRunContext, parameters: dict[str, Any]) -> str:
    return f"{context.task_run.flow_run_id}-{step_name(context.task.name, parameters).replace(' ', '-')}"


def _is_transient(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    return isinstance(state.result(raise_on_failure=False), Unavailable)
