"""What one of Prefect's events tells of: a run's new state, a step of a run, or a job. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal, NamedTuple

from slipway.admin.prefect_api import Document

RUN, STEP, JOB = "prefect.flow-run.", "prefect.task-run.", "prefect.deployment."


class Change(NamedTuple):
    """A state of a run (`body`) since `at`, a step of a run as Prefect's API tells it, or that some job has changed."""

    kind: Literal["run", "step", "job"]
    run_id: str = ""
    body: Document = {}  # noqa: RUF012 - never written to
    at: str = ""


def changes_of(event: Document) -> Change | None:
    """The change that an event tells of, if it does: anybody may send events that are called as Prefect's own are."""
    try:
        resource = event["resource"]
        about = str(resource["prefect.resource.id"])
        if about.startswith(JOB):
            return Change("job") if event["event"].endswith((".created", ".updated", ".deleted")) else None
        at = _as_read(str(resource["prefect.state-timestamp"]))
        state = {name: event["payload"]["validated_state"].get(name) for name in ("type", "name", "message")}
        if about.startswith(RUN):
            return Change("run", about.removeprefix(RUN), state, at)
        if about.startswith(STEP):
            return _step(event, about.removeprefix(STEP), {**state, "timestamp": at})
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    return None


def _as_read(moment: str) -> str:
    """A time as Prefect's API writes it: one moment is told in one way, whoever told us of it."""
    return datetime.fromisoformat(moment).astimezone(UTC).isoformat().replace("+00:00", "Z")


def _step(event: Document, step_id: str, state: Document) -> Change | None:
    told = event["payload"]["task_run"]
    runs = [entry["prefect.resource.id"] for entry in event["related"] if entry["prefect.resource.role"] == "flow-run"]
    if not runs:
        return None  # a task outside a flow
    step = {name: told.get(name) for name in ("name", "expected_start_time", "start_time", "end_time")}
    step["total_run_time"] = _seconds(told.get("start_time"), told.get("end_time"))
    run_id = str(runs[0]).removeprefix(RUN)
    return Change("step", run_id, {**step, "id": step_id, "flow_run_id": run_id, "state": state}, state["timestamp"])


def _seconds(start: str | None, end: str | None) -> float | None:
    if not start or not end:
        return None
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
