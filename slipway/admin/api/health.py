"""Whether the service lives, and whether it is ready. The only requests that need nobody else."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from slipway.admin import schemas
from slipway.admin.services import ServicesDep

router = APIRouter()


@router.get("/health", response_model=schemas.Health, openapi_extra=schemas.OPEN)
async def health() -> dict[str, bool]:
    """The process lives; asks nobody."""
    return {"ok": True}


@router.get(
    "/ready", response_model=schemas.Ready, responses={503: {"model": schemas.Ready}}, openapi_extra=schemas.OPEN
)
async def ready(container: ServicesDep) -> Response:
    """Whether Prefect and the store answer, and the newest runs are known; 503 names what does not."""
    missing = await container.missing()
    body = {"ready": not missing, "missing": missing}
    return JSONResponse(body, status_code=503 if missing else 200)
