"""The route for a service's history of measurements."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter

from slipway.admin import schemas
from slipway.admin.services import ServicesDep
from slipway.core.frozen import ServiceName

router = APIRouter(tags=["services"])


@router.get("/services/{service}/history", response_model=schemas.History, responses=schemas.problems(404, 503))
async def history(service: ServiceName, container: ServicesDep, since: datetime | None = None) -> Any:
    """Return the results of measure-service: every series with its baseline, the changes, and the points (30 days)."""
    if since is not None and since.tzinfo is None:
        since = since.replace(tzinfo=UTC)
    recent = await container.points(service, None)
    trend = await container.trend(service, recent)
    points = recent if since is None else await container.points(service, since)
    return {
        **trend.model_dump(mode="json", exclude={"picture_svg"}),
        "points": [point.model_dump(mode="json") for point in points],
    }
