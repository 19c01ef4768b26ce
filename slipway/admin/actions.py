"""What a person can do to a run: cancel it, or answer when it asks for approval."""

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
FOR_A_PERSON = ("Frozen", "GaveUp", "RollBackFailed")
NOT_STARTED = ("SCHEDULED", "PAUSED")  # no process is there to stop by itself


class ActionRequest(BaseModel):
    """Who says it, and why; both stand in the record. Who is who is signed in, never what a request says."""

    model_config = ConfigDict(extra="forbid")

    by: str = Field(min_length=2, max_length=200)
    why: str = Field(min_length=2, max_length=2_000)


class Reason(BaseModel):
    """Why somebody does it."""

    model_config = ConfigDict(extra="forbid")

    why: str = Field(min_length=2, max_length=2_000, pattern=r"^[^\x00]*$")  # no database keeps a NUL


def said_by(caller: CallerDep, reason: Reason) -> ActionRequest:
    """What a request says, in the name of who is signed in."""
    return ActionRequest(by=caller.person, why=reason.why)


async def _said(caller: CallerDep, reason: Reason) -> ActionRequest:
    return said_by(caller, reason)


ActionRequestDep = Annotated[ActionRequest, Depends(_said)]


async def cancel(prefect: Prefect, attempts: Attempts, run: Document, said: ActionRequest) -> None:
    """Ask a run to stop; it does so within 2 s, or goes all the way back. Raises Conflict for a run that is over."""
    state = run["state"]["type"]
    if state in OVER:
        raise Conflict(f"Run {run['id']} is over: {run['state']['name']}.", expected="A run that is on its way.")
    await asyncio.to_thread(attempts.request_cancel, run["id"], f"{said.by}: {said.why}")
    if state != "CRASHED":  # a crashed run is resumed, and sees then that it is to be cancelled
        await prefect.set_state(run["id"], "CANCELLED" if state in NOT_STARTED else "CANCELLING", said.why)


async def pause(attempts: Attempts, run: Document, job: str | None, said: ActionRequest) -> None:
    """Ask a backfill to pause; it does so behind its batch. Raises Conflict for another job, and a run that is over."""
    if job != BACKFILL:
        raise Conflict(f"Run {run['id']} cannot be paused: it is no backfill.", expected="A run of the job backfill.")
    if run["state"]["type"] in OVER:
        raise Conflict(f"Run {run['id']} is over: {run['state']['name']}.", expected="A run that is on its way.")
    await asyncio.to_thread(attempts.request_pause, run["id"], f"{said.by}: {said.why}")


async def resume(attempts: Attempts, run: Document) -> None:
    """Let a paused run go on. Raises Conflict for one that is not paused."""
    if not await asyncio.to_thread(attempts.end_pause, run["id"]):
        raise Conflict(f"Run {run['id']} is not paused.", expected="A run that somebody paused.")


def check_retry(run: Document) -> None:
    """Raise Conflict for a run, as its detail, that is not over, belongs to no job, or that a person has to look at first."""
    state, failures = run["state"], run["failures"]
    if state["type"] not in OVER or run["job"] is None:
        raise Conflict(f"Run {run['id']} is {state['name']}.", expected="A run of a job that is over.")
    if run["missing"]:
        raise Unavailable("What the run left behind cannot be read just now.", expected="A store that answers.")
    unsafe = [failure["step"] for failure in failures if not failure["retry_is_safe"]]
    if unsafe or state["name"] in FOR_A_PERSON:
        because = f"{unsafe[0]} must not be repeated" if unsafe else f"it ended as {state['name']}"
        raise Conflict(
            f"Run {run['id']} cannot be retried: {because} before a person has looked.",
            expected="A run whose failures say that a retry is safe.",
        )


async def answer(prefect: Prefect, run: Document, said: ActionRequest, *, approved: bool) -> None:
    """Resume a run that waits for approval. Raises Conflict for one that does not wait (any more)."""
    if run["state"]["name"] != "Suspended":
        raise Conflict(
            f"Run {run['id']} does not wait for approval: it is {run['state']['name']}.",
            expected="A run that is Suspended; each is answered once.",
        )
    told = await prefect.resume(run["id"], {"approved": approved, "by": said.by, "why": said.why})
    if told != "ACCEPT":  # Prefect answers 200 also when it does not resume
        raise Conflict(f"Prefect did not resume run {run['id']}: {told}.", expected="A run that still waits.")
