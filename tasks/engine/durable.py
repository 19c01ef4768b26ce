"""What makes a step durable on Prefect: an explicit cache key, a JSON result on shared storage, and a retry policy.

A step that has finished is not run again when its run goes on after a crash; the step in flight is repeated, so
every step looks before it acts. `RUN_ID + INPUTS` is no key for this: it has no task identity, and two steps with
equal arguments would collide.
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
from slipway.tasks.engine.saving import keep_failure, kept_by_an_earlier_attempt, start_saving, wait_saved
from slipway.tasks.engine.secrets import secret_value

look_up_secrets_by(secret_value)
P = ParamSpec("P")
R = TypeVar("R")

SHOWN_WITHIN_S = 5.0
RETRIES, RETRY_EVERY_S = 30, 1.0  # short waits: a cancel is looked for before each try


class Step(Task[P, R]):
    """A task that is over once Slipway's store has what it left behind, too."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:  # type: ignore[override]
        outcome: R = super().__call__(*args, **kwargs)
        wait_saved(step_name(self.name, kwargs), outcome)
        return outcome


def durable(
    name: str, *, acts_on: Callable[[Any], str] | None = None, interruptible: bool = False
) -> Callable[[Callable[P, R]], Step[P, R]]:
    """Make a step of a run: durable, named `name` (and its `label`, for a step that a run takes more than once).

    What it returns is kept in Slipway's store under that name and shown as Prefect artifacts; a SlipwayError is
    kept too, before it goes up. A step is done once the store has its outcome: Prefect goes on when it cannot keep a
    result, and a step repeated for that would measure a "before" that is none any more. Only `Unavailable` is
    retried: everything else fails the same way again. A step with `acts_on` (the service, from its first argument)
    changes something: it is fenced, and not interrupted half-way unless `interruptible` says that the step itself
    knows where it may be.
    """

    def make(step: Callable[P, R]) -> Step[P, R]:
        @wraps(step)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            with _circumstances(acts_on(args[0]) if acts_on else "", interruptible):
                return step(*args, **kwargs)

        return Step(
            _once(name, run),
            name=name,
            task_run_name=_shown_name,
            cache_key_fn=_key,
            persist_result=True,
            result_serializer="json",
            retries=RETRIES,
            retry_delay_seconds=RETRY_EVERY_S,
            retry_condition_fn=_may_pass_by_itself,
        )

    return make


def _once(name: str, step: Callable[P, R]) -> Callable[P, R]:
    """The step, done once: what it leaves behind is kept, and found again by a later attempt."""

    @wraps(step)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        here = step_name(name, kwargs)
        earlier = kept_by_an_earlier_attempt(here)
        if earlier is not None:
            returned: R = TypeAdapter(get_type_hints(step)["return"]).validate_python(earlier.body)
            return returned
        try:
            outcome = step(*args, **kwargs)
        except Cancelled:  # no failure: the end of the run says who, why, and how far it came
            raise
        except SlipwayError as error:
            keep_failure(here, error)
            raise
        start_saving(here, outcome)
        show(here, outcome)
        return outcome

    return run


@contextmanager
def _circumstances(service: str, interruptible: bool) -> Iterator[None]:
    """Fenced when it acts on a service; interrupted by a cancel when it does not, or knows where."""
    check_cancelled()
    with (
        effect(service) if service else nullcontext(),
        cancellation.interruptible(check_cancelled) if interruptible or not service else nullcontext(),
    ):
        yield


def step_name(name: str, parameters: dict[str, Any]) -> str:
    """`measure before`: a step's name, and its label where it has one."""
    return f"{name} {parameters['label']}" if parameters.get("label") else name


def show(step: str, outcome: object) -> None:
    """Show what a step left behind in the Prefect UI; a picture that cannot be hung up is no reason to roll back.

    Nor one to wait: the client tries for about a minute while the server is away, and a bad change may be live.
    """
    if not is_shown(outcome):
        return
    hanging = Thread(target=copy_context().run, args=(_show, step, outcome), name=f"show {step}", daemon=True)
    hanging.start()
    hanging.join(SHOWN_WITHIN_S)


def _show(step: str, outcome: object) -> None:
    try:
        publish(step, outcome)
    except Exception:
        get_run_logger().warning("the outcome of %s could not be shown as an artifact", step, exc_info=True)


def _shown_name() -> str:
    return step_name(task_run.task_name, task_run.parameters)


def _key(context: TaskRunContext, parameters: dict[str, Any]) -> str:
    return f"{context.task_run.flow_run_id}-{step_name(context.task.name, parameters).replace(' ', '-')}"


def _may_pass_by_itself(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    return isinstance(state.result(raise_on_failure=False), Unavailable)
