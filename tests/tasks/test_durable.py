"""Tests of the durable steps: cache keys, results and retries."""

from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from prefect import Task

from slipway.core.errors import InvalidInput, SlipwayError, Unavailable
from slipway.tasks import (
    approval,
    backfill,
    hold,
    inspect_headers,
    judge,
    measure,
    migrate,
    purge,
    record,
    rehearse,
    roll_back,
    validate,
)
from slipway.tasks.engine.durable import _is_transient, step_name

MODULES = (
    approval,
    backfill,
    hold,
    inspect_headers,
    judge,
    measure,
    migrate,
    purge,
    record,
    rehearse,
    roll_back,
    validate,
)


def steps() -> list[Task[..., Any]]:
    """Return every durable step."""
    tasks = {id(value): value for module in MODULES for value in vars(module).values() if isinstance(value, Task)}
    return list(tasks.values())


def key(step: Task[..., Any], run: str, **parameters: Any) -> str | None:
    """Return the cache key of a step in a run."""
    assert step.cache_key_fn is not None
    context = SimpleNamespace(task=step, task_run=SimpleNamespace(flow_run_id=run))
    return step.cache_key_fn(context, parameters)


def test_two_steps_with_equal_arguments_do_not_collide() -> None:
    """Every step of a run has its own cache key, although most steps get only the same plan."""
    unique_steps = {step.name: step for step in steps()}
    assert len(unique_steps) >= 13
    keys = [key(step, "run", plan="the same") for step in unique_steps.values()]
    assert len(set(keys)) == len(keys)


def test_the_label_is_part_of_the_cache_key() -> None:
    """`measure before` and `measure after` have different keys, also in another run. A repeated step has the same key."""
    assert key(measure.measure, "run", label="before") == key(measure.measure, "run", label="before")
    different = [
        key(measure.measure, "run", label="before"),
        key(measure.measure, "run", label="after"),
        key(measure.measure, "other", label="before"),
    ]
    assert len(set(different)) == 3
    assert step_name("measure", {"label": "before"}) == "measure before"


def test_results_are_persisted_as_json() -> None:
    """Another worker and another version can read a step's result."""
    assert {(step.persist_result, step.result_serializer) for step in steps()} == {(True, "json")}


@pytest.mark.parametrize(
    ("error", "retried"),
    [
        (Unavailable("The database does not answer.", expected="The database answers."), True),
        (InvalidInput("The change is wrong.", expected="A correct change."), False),
        (SlipwayError("The step failed.", expected="The step works.", retry_is_safe=True), False),
        (ValueError("a bug"), False),
    ],
)
def test_only_transient_errors_are_retried(error: Exception, retried: bool) -> None:
    """Only `Unavailable` is retried. Every other error would occur again."""
    state = Mock(spec_set=["result"], **{"result.return_value": error})
    assert _is_transient(measure.measure, SimpleNamespace(), state) is retried
