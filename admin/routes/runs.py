"""Runs: the list, and one run with everything that is known of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query

from admin.access.caller import TheCaller
from admin.doors import TheDoors
from slipway.noun import ServiceName

StateType = Annotated[str, Query(pattern=r"^[A-Z]+$")]
router = APIRouter()


@router.get("/runs")
async def runs(
    doors: TheDoors,
    caller: TheCaller,
    job: str | None = None,
    state: StateType | None = None,
    service: Annotated[ServiceName | None, Query()] = None,
    since: datetime | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> list[dict[str, Any]]:
    """Runs, the newest first; the last seven days unless `since` says otherwise."""
    states, readable = [state] if state else [], caller.readable
    return await doors.runs(job=job, states=states, service=service, since=since, limit=limit, readable=readable)


@router.get("/runs/{run_id}")
async def one_run(run_id: UUID, doors: TheDoors) -> dict[str, Any]:
    """One run: its steps, findings, measurements, verdict, decision and record."""
    return await doors.detail(run_id)
