"""Whether the service lives, and whether it is ready. The only requests that need nobody else."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from admin.doors import Doors, TheDoors
from slipway.errors import SlipwayError

router = APIRouter()


@router.get("/health")
async def health() -> dict[str, bool]:
    """The process lives; asks nobody."""
    return {"ok": True}


@router.get("/ready")
async def ready(doors: TheDoors) -> Response:
    """Whether Prefect and the store answer; 503 names what does not."""
    missing = [told for told in (await _missing(doors)) if told]
    body = {"ready": not missing, "missing": missing}
    return JSONResponse(body, status_code=503 if missing else 200)


async def _missing(doors: Doors) -> list[str]:
    async def told(check: Any) -> str:
        try:
            await check
        except SlipwayError as error:
            return error.failed
        return ""

    return list(await asyncio.gather(told(doors.prefect.ready()), told(asyncio.to_thread(doors.store.ping))))
