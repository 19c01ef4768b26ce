"""Parse one Prefect event: a run's new state, a step of a run, or a changed job. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal, NamedTuple

from slipway.admin.prefect_api import Document

RUN, STEP, JOB = "prefect.flow-run.", "prefect.task-run.", "prefect.deployment."


class Change(NamedTuple):
    """A run's state (`body`) since `at`, a step of a run in the shape of Prefect's API, or the fact that a job changed."""

    kind: Literal["run", "step", "job"]
    run_id: str = ""
    body: Document = {}  # noqa: RUF012 - never modified
    at: str = ""


def changes_of(event: Document) -> Change | None:
    """Return the change that an event reports. Return None for a malformed event: anyone can send events with these names."""
    try:
        resource = event["resource"]
        resource_id = str(resource["prefect.resource.id"])
        if resource_id.startswith(JOB):
            return Change("job") if event["event"].endswith((".created", ".updated", ".deleted")) else None
        at = _normalise_time(str(resource["prefect.state-timestamp"]))
        state = {name: event["payload"]["validated_state"].get(name) for name in ("type", "name", "message")}
        if resource_id.startswith(RUN):
            return Change("run", resource_id.removeprefix(RUN), state, at)
        if resource_id.startswith(STEP):
            return _step(event, resource_id.removeprefix(STEP), {**state, "timestamp": at})
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    return None


def _normalise_time(moment: str) -> str:
    """Return a time in the format of Prefect's API, so that equal times are equal strings."""
    return datetime.fromisoformat(moment).astimezone(UTC).isoformat().replace("+00:00", "Z")


def _step(event: Document, step_id: str, state: Document) -> Change | None:
    task_run = event["payload"]["task_run"]
    runs = [entry["prefect.resource.id"] for entry in event["related"] if entry["prefect.resource.role"] == "flow-run"]
    if not runs:
        return None  # a task outside a flow
    step = {name: task_run.get(name) for name in ("name", "expected_start_time", "start_time", "end_time")}
    step["total_run_time"] = _seconds(task_run.get("start_time"), task_run.get("end_time"))
    run_id = str(runs[0]).removeprefix(RUN)
    return Change("step", run_id, {**step, "id": step_id, "flow_run_id": run_id, "state": state}, state["timestamp"])


def _seconds(start: str | None, end: str | None) -> float | None:
    if not start or not end:
        return None
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
