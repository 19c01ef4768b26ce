"""Whether the service lives, and whether it is ready. The only requests that need nobody else."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from admin import answers
from admin.doors import TheDoors

router = APIRouter()


@router.get("/health", response_model=answers.Health, openapi_extra=answers.OPEN)
async def health() -> dict[str, bool]:
    """The process lives; asks nobody."""
    return {"ok": True}


@router.get(
    "/ready", response_model=answers.Ready, responses={503: {"model": answers.Ready}}, openapi_extra=answers.OPEN
)
async def ready(doors: TheDoors) -> Response:
    """Whether Prefect and the store answer, and the newest runs are known; 503 names what does not."""
    missing = await doors.missing()
    body = {"ready": not missing, "missing": missing}
    return JSONResponse(body, status_code=503 if missing else 200)
