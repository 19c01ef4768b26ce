"""Flows that do nothing but tell the time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.context import TaskRunContext

from slipway.tasks.engine.attempts import attempt
from slipway.tasks.engine.durable import durable


@flow(name="bench-first-line")
def first_line(file: str = "") -> None:
    """Write down when the first line ran."""
    if file:
        Path(file).write_text(str(time.time()), encoding="utf-8")


@durable("bench step")
def durable_step(*, label: str) -> str:
    """Do nothing. Repeated, it does nothing again."""
    return label


def _own_key(context: TaskRunContext, parameters: dict[str, Any]) -> str:
    return str(context.task_run.id)


@task(name="bare step", persist_result=True, result_serializer="json", cache_key_fn=_own_key)
def bare_step(label: str) -> str:
    """Do nothing."""
    return label


@flow(name="bench-patient")
def patient(seconds: float) -> None:
    """Take a step every ten seconds, as a run that waits for others does."""
    ends = time.monotonic() + seconds
    with attempt():
        number = 0
        while time.monotonic() < ends:
            durable_step(label=str(number))
            number += 1
            time.sleep(10.0)


@flow(name="bench-steps")
def steps(file: str, count: int = 60) -> None:
    """Take bare and durable steps in turn, and write down the seconds that each took."""
    took: dict[str, list[float]] = {"bare": [], "durable": []}
    with attempt():
        for number in range(count):
            began = time.perf_counter()
            bare_step(str(number))
            between = time.perf_counter()
            durable_step(label=str(number))
            took["bare"].append(between - began)
            took["durable"].append(time.perf_counter() - between)
    lines = [f"{bare} {ours}" for bare, ours in zip(took["bare"], took["durable"], strict=True)]
    Path(file).write_text("\n".join(lines), encoding="utf-8")
