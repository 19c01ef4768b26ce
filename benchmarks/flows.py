"""Flows that only record times."""

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
    """Write the time of the first line to the file."""
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
    """Execute a step every ten seconds, like a run that waits for other processes."""
    ends = time.monotonic() + seconds
    with attempt():
        number = 0
        while time.monotonic() < ends:
            durable_step(label=str(number))
            number += 1
            time.sleep(10.0)


@flow(name="bench-steps")
def steps(file: str, count: int = 60) -> None:
    """Alternate bare and durable steps, and write the seconds of each to the file."""
    seconds: dict[str, list[float]] = {"bare": [], "durable": []}
    with attempt():
        for number in range(count):
            began = time.perf_counter()
            bare_step(str(number))
            between = time.perf_counter()
            durable_step(label=str(number))
            seconds["bare"].append(between - began)
            seconds["durable"].append(time.perf_counter() - between)
    lines = [f"{bare_s} {durable_s}" for bare_s, durable_s in zip(seconds["bare"], seconds["durable"], strict=True)]
    Path(file).write_text("\n".join(lines), encoding="utf-8")
