"""The pages of the services: the measured history, the last audit, the changes and the runs of a service."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response
from markupsafe import Markup

from slipway.admin.auth.caller import Caller, CallerDep
from slipway.admin.markdown import to_html
from slipway.admin.pages import live, plans, triage
from slipway.admin.services import AdminServices, ServicesDep
from slipway.admin.templating import page
from slipway.config.service import load_services
from slipway.core.formatting import significant
from slipway.measurement.history import Point, Trend
from slipway.shipping.rehearsal_report import trend_report

LIMIT = 50
router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class Summary:
    """The last measurement of a service as a sentence."""

    sentence: str
    at: datetime | None = None
    drifted: bool = False


def summarise(trend: Trend, points: list[Point]) -> Summary:
    """Return one sentence about the measurements of a service: which series have drifted, or that none has. Pure."""
    if not points:
        return Summary("Not measured yet.")
    at = max(point.at for point in points)
    if slower := [series.sentence for series in trend.series if series.drifted]:
        return Summary(" ".join(slower), at, drifted=True)
    medians = sorted(point.median_ms for point in points if point.at == at and point.median_ms is not None)
    spread = _spread(medians) if medians else ", no successful response"
    with_baseline = sum(series.baseline_ms is not None for series in trend.series)
    comparison = (
        "as before"
        if with_baseline == len(trend.series)
        else "no baseline yet"
        if not with_baseline
        else f"{with_baseline} as before"
    )
    total = len(trend.series)
    return Summary(f"{total} {'series' if total > 1 else 'route'}: {comparison}{spread}.", at)


def _spread(medians: list[float]) -> str:
    low, high = significant(medians[0]), significant(medians[-1])
    return f", median {low} ms" if low == high else f", medians {low} to {high} ms"


async def readable_services(container: AdminServices, caller: Caller) -> list[str]:
    """Return the services that the caller may see."""
    return [name for name in await asyncio.to_thread(load_services, container.settings.config) if caller.readable(name)]


async def last_summary(container: AdminServices, service: str) -> Summary:
    """Return the last measurement of a service as a sentence."""
    points = await container.points(service, None)
    return summarise(await container.trend(service, points), points)


@router.get("/pages/services")
async def all_services(request: Request, container: ServicesDep, caller: CallerDep) -> Response:
    """Show every service with its last measurement."""
    services = await readable_services(container, caller)
    summaries = await asyncio.gather(*(last_summary(container, name) for name in services))
    return page(request, "services.html", services=list(zip(services, summaries, strict=True)))


@router.get("/pages/services/{service}")
async def one_service(request: Request, service: str, container: ServicesDep, caller: CallerDep) -> Response:
    """Show a service: the measurements of the last 30 days with its changes, the last audit, and the runs."""
    points = await container.points(service, None)  # first, because it raises NotFound for an unknown service
    runs = await container.runs(
        service=service, states=[*triage.NOW, *triage.ENDED], limit=LIMIT, readable=caller.readable
    )
    region = live.region(
        request,
        "runs_live.html",
        stale=live.stale_notice(container),
        polling=bool(triage.runs_now(runs)),
        runs=runs,
        older=urlencode({"service": service, "since": "ever"}),
    )
    if live.is_live_request(request):
        return live.respond(request, region)
    trend, audited, folders = await asyncio.gather(
        container.trend(service, points),
        container.audited(service),
        asyncio.to_thread(plans.folders, container.settings.changes),
    )
    return page(
        request,
        "service.html",
        service=service,
        trend=trend,
        summary=summarise(trend, points),
        report=Markup(to_html(trend_report(trend))),  # noqa: S704 - to_html escapes HTML in the text
        picture_run_id=points[-1].run_id if points else "",
        audited=audited,
        folders=[folder for folder in folders if folder.document is not None and folder.document.service == service],
        live=region.html,
    )
