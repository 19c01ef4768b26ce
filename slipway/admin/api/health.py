"""The liveness and readiness routes. Neither needs a sign-in."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from slipway.admin import schemas
from slipway.admin.services import ServicesDep

router = APIRouter()


@router.get("/health", response_model=schemas.Health, openapi_extra=schemas.OPEN)
async def health() -> dict[str, bool]:
    """Return 200 while the process is running; no other service is checked."""
    return {"ok": True}


@router.get(
    "/ready", response_model=schemas.Ready, responses={503: {"model": schemas.Ready}}, openapi_extra=schemas.OPEN
)
async def ready(container: ServicesDep) -> Response:
    """Return 200 if Prefect and the store answer and the newest runs are loaded; 503 lists the failures."""
    missing = await container.missing()
    body = {"ready": not missing, "missing": missing}
    return JSONResponse(body, status_code=503 if missing else 200)
