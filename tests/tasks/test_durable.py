"""What makes a step durable: its key, and what is retried."""

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
from slipway.tasks.engine.durable import _may_pass_by_itself, step_name

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
    """Every durable step."""
    found = {id(value): value for module in MODULES for value in vars(module).values() if isinstance(value, Task)}
    return list(found.values())


def key(step: Task[..., Any], run: str, **parameters: Any) -> str | None:
    """The cache key of a step in a run."""
    assert step.cache_key_fn is not None
    context = SimpleNamespace(task=step, task_run=SimpleNamespace(flow_run_id=run))
    return step.cache_key_fn(context, parameters)


def test_two_steps_with_equal_arguments_do_not_collide() -> None:
    """Every step of a run has a key of its own, although most get the same plan and nothing else."""
    one_each = {step.name: step for step in steps()}
    assert len(one_each) >= 13
    keys = [key(step, "run", plan="the same") for step in one_each.values()]
    assert len(set(keys)) == len(keys)


def test_a_step_taken_twice_has_two_keys_by_its_label() -> None:
    """`measure before` and `measure after` are two steps, in each run anew, and a repeat finds its own."""
    assert key(measure.measure, "run", label="before") == key(measure.measure, "run", label="before")
    different = [
        key(measure.measure, "run", label="before"),
        key(measure.measure, "run", label="after"),
        key(measure.measure, "other", label="before"),
    ]
    assert len(set(different)) == 3
    assert step_name("measure", {"label": "before"}) == "measure before"


def test_results_are_json_on_storage() -> None:
    """Every step's result is kept as JSON, which another worker and another version can read."""
    assert {(step.persist_result, step.result_serializer) for step in steps()} == {(True, "json")}


@pytest.mark.parametrize(
    ("error", "retried"),
    [
        (Unavailable("It is away.", expected="It."), True),
        (InvalidInput("It is wrong.", expected="It right."), False),
        (SlipwayError("It failed.", expected="It to work.", retry_is_safe=True), False),
        (ValueError("a bug"), False),
    ],
)
def test_only_what_may_pass_by_itself_is_retried(error: Exception, retried: bool) -> None:
    """A part that is away is asked again; what would fail the same way is not."""
    state = Mock(spec_set=["result"], **{"result.return_value": error})
    assert _may_pass_by_itself(measure.measure, SimpleNamespace(), state) is retried
