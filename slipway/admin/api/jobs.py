"""The routes for jobs: list them, switch them off and on, and start a run."""

from __future__ import annotations

from typing import Annotated, Any, Self

from fastapi import APIRouter, Body, Header, Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from slipway.admin import schemas
from slipway.admin.auth.caller import CallerDep
from slipway.admin.limits import Limited
from slipway.admin.prefect_api import Document
from slipway.admin.runs import summary
from slipway.admin.services import AdminServices, ServicesDep
from slipway.admin.templating import link

IdempotencyKey = Annotated[str | None, Header(max_length=200, pattern=r"^[\x21-\x7e]+$")]
STARTED: schemas.Documented = {202: {"headers": schemas.LOCATION}}
router = APIRouter(tags=["jobs"])


class Switch(BaseModel):
    """Switch the schedules (`paused`) or the whole job (`disabled`); an omitted member is not changed."""

    model_config = ConfigDict(extra="forbid")

    paused: bool | None = None
    disabled: bool | None = None
    why: str = Field(default="", max_length=2_000)

    @model_validator(mode="after")
    def _check_not_empty(self) -> Self:
        if self.paused is None and self.disabled is None:
            raise ValueError("set paused, disabled or both")
        return self


@router.get("/jobs", response_model=list[schemas.Job], responses=schemas.READING)
async def jobs(container: ServicesDep) -> Any:
    """Return every job: card, parameters, schedules."""
    return await container.jobs.all()


@router.get("/jobs/{job}", response_model=schemas.Job, responses=schemas.problems(404, 503))
async def one_job(job: str, container: ServicesDep) -> Any:
    """Return one job."""
    return await container.jobs.one(job)


@router.patch("/jobs/{job}", response_model=schemas.Job, responses=schemas.problems(404, 413, 503))
async def switch_job(job: str, switch: Switch, container: ServicesDep, caller: CallerDep) -> Any:
    """Switch a job's schedules off or on (`paused`), or the whole job (`disabled`: nobody can start a run)."""
    person = caller.person
    switched = await container.jobs.switch(
        job, paused=switch.paused, disabled=switch.disabled, by=person, why=switch.why
    )
    container.synchroniser.request_resync()  # Prefect creates or deletes the planned runs of the schedules
    return switched


@router.post(
    "/jobs/{job}/runs",
    status_code=202,
    response_model=schemas.RunLine,
    responses={**schemas.STARTING, **STARTED},
)
async def start_run(
    job: str,
    parameters: Annotated[dict[str, Any], Body()],
    container: ServicesDep,
    request: Request,
    response: Response,
    limited: Limited,
    idempotency_key: IdempotencyKey = None,
) -> Any:
    """Start a run. The same Idempotency-Key with the same parameters returns the same run."""
    return await started(container, job, parameters, idempotency_key, request, response)


async def started(
    container: AdminServices, job: str, parameters: Document, key: str | None, request: Request, response: Response
) -> Document:
    """Start a run, and set the Location header of the response."""
    run = await container.jobs.start(job, parameters, key)
    container.record_run(run)
    response.headers["Location"] = link(request, f"/runs/{run['id']}")
    return summary(run, await container.names())
