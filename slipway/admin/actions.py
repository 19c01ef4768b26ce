"""The actions on a run: cancel, pause, resume, retry, approve and reject."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import Depends
from pydantic import BaseModel, ConfigDict, Field

from slipway.admin.auth.caller import CallerDep
from slipway.admin.jobs import BACKFILL
from slipway.admin.prefect_api import Document, Prefect
from slipway.admin.problems import Conflict
from slipway.core.errors import Unavailable
from slipway.runs.attempts import Attempts

OVER = ("COMPLETED", "FAILED", "CANCELLED")
NEEDS_A_PERSON = ("Frozen", "GaveUp", "RollBackFailed")
NOT_STARTED = ("SCHEDULED", "PAUSED")  # no process is running that could stop the run


class ActionRequest(BaseModel):
    """The person who acts and the reason; both are written to the record. The person comes from the sign-in, not the body."""

    model_config = ConfigDict(extra="forbid")

    by: str = Field(min_length=2, max_length=200)
    why: str = Field(min_length=2, max_length=2_000)


class Reason(BaseModel):
    """The reason for an action."""

    model_config = ConfigDict(extra="forbid")

    why: str = Field(min_length=2, max_length=2_000, pattern=r"^[^\x00]*$")  # PostgreSQL text cannot hold a NUL


def action_request(caller: CallerDep, reason: Reason) -> ActionRequest:
    """Return the action request of a signed-in caller."""
    return ActionRequest(by=caller.person, why=reason.why)


async def _read_action_request(caller: CallerDep, reason: Reason) -> ActionRequest:
    return action_request(caller, reason)


ActionRequestDep = Annotated[ActionRequest, Depends(_read_action_request)]


async def cancel(prefect: Prefect, attempts: Attempts, run: Document, action: ActionRequest) -> None:
    """Request the cancellation of a run. The run stops within 2 s, or rolls back. Raises Conflict for a run that is over."""
    state = run["state"]["type"]
    if state in OVER:
        raise Conflict(f"Run {run['id']} is over: {run['state']['name']}.", expected="A run that has not ended.")
    await asyncio.to_thread(attempts.request_cancel, run["id"], f"{action.by}: {action.why}")
    if state != "CRASHED":  # a worker resumes a crashed run, which then reads the request
        await prefect.set_state(run["id"], "CANCELLED" if state in NOT_STARTED else "CANCELLING", action.why)


async def pause(attempts: Attempts, run: Document, job: str | None, action: ActionRequest) -> None:
    """Pause a backfill after its current batch. Raises Conflict for any other job, and for a run that is over."""
    if job != BACKFILL:
        raise Conflict(
            f"Run {run['id']} cannot be paused: it is not a backfill.", expected="A run of the job backfill."
        )
    if run["state"]["type"] in OVER:
        raise Conflict(f"Run {run['id']} is over: {run['state']['name']}.", expected="A run that has not ended.")
    await asyncio.to_thread(attempts.request_pause, run["id"], f"{action.by}: {action.why}")


async def resume(attempts: Attempts, run: Document) -> None:
    """Continue a paused run. Raises Conflict for a run that is not paused."""
    if not await asyncio.to_thread(attempts.end_pause, run["id"]):
        raise Conflict(f"Run {run['id']} is not paused.", expected="A paused run.")


def check_retry(run: Document) -> None:
    """Raise Conflict if a run (its detail) has not ended, has no job, or needs a person first. Raises Unavailable, too."""
    state, failures = run["state"], run["failures"]
    if state["type"] not in OVER or run["job"] is None:
        raise Conflict(f"Run {run['id']} is {state['name']}.", expected="A run of a job, and the run has ended.")
    if run["missing"]:
        raise Unavailable("Could not read the steps and outcomes of the run.", expected="Prefect and the store answer.")
    unsafe = [failure["step"] for failure in failures if not failure["retry_is_safe"]]
    if unsafe or state["name"] in NEEDS_A_PERSON:
        reason = f"{unsafe[0]} must not be repeated" if unsafe else f"it ended as {state['name']}"
        raise Conflict(
            f"Run {run['id']} cannot be retried before a person has checked it: {reason}.",
            expected="A run whose failures are all marked as safe to retry.",
        )


async def answer(prefect: Prefect, run: Document, action: ActionRequest, *, approved: bool) -> None:
    """Resume a run that waits for approval. Raises Conflict for a run that does not wait, or no longer waits."""
    if run["state"]["name"] != "Suspended":
        raise Conflict(
            f"Run {run['id']} does not wait for approval: it is {run['state']['name']}.",
            expected="A run in state Suspended. Each run is approved or rejected once.",
        )
    status = await prefect.resume(run["id"], {"approved": approved, "by": action.by, "why": action.why})
    if status != "ACCEPT":  # Prefect answers 200 even if it does not resume the run
        raise Conflict(
            f"Prefect did not resume run {run['id']}: {status}.", expected="A run that still waits for approval."
        )
