"""Jobs, and the start of a run."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Response

from admin.doors import Doors, TheDoors
from admin.jobs import describe
from admin.prefect_api import Document
from admin.runs import summary

router = APIRouter()


@router.get("/jobs")
async def jobs(doors: TheDoors) -> list[dict[str, Any]]:
    """Every job: card, parameters, schedules."""
    return await doors.jobs.all()


@router.get("/jobs/{job}")
async def one_job(job: str, doors: TheDoors) -> dict[str, Any]:
    """One job."""
    return describe(await doors.jobs.find(job))


@router.post("/jobs/{job}/runs", status_code=202)
async def start_run(
    job: str,
    parameters: Annotated[dict[str, Any], Body()],
    doors: TheDoors,
    response: Response,
    idempotency_key: Annotated[str | None, Header(max_length=200, pattern=r"^[\x21-\x7e]+$")] = None,
) -> dict[str, Any]:
    """Start a run; the same Idempotency-Key with the same parameters answers with the same run."""
    return await started(doors, job, parameters, idempotency_key, response)


async def started(doors: Doors, job: str, parameters: Document, key: str | None, response: Response) -> Document:
    """Start a run, and tell in the answer where it is."""
    run = await doors.jobs.start(job, parameters, key)
    response.headers["Location"] = f"/runs/{run['id']}"
    return summary(run, await doors.names())
