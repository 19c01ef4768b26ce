"""A service: what it was like, its last audit, its changes and its runs."""

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
class Words:
    """A service's last measurement in words."""

    sentence: str
    at: datetime | None = None
    drifted: bool = False


def words(trend: Trend, points: list[Point]) -> Words:
    """What is to be said of a service in one sentence: what has drifted, or that all is as before. Pure."""
    if not points:
        return Words("Not measured yet.")
    at = max(point.at for point in points)
    if slower := [series.sentence for series in trend.series if series.drifted]:
        return Words(" ".join(slower), at, drifted=True)
    fast = sorted(point.median_ms for point in points if point.at == at and point.median_ms is not None)
    spread = _spread(fast) if fast else ", without a good answer"
    known = sum(series.baseline_ms is not None for series in trend.series)
    how = "as before" if known == len(trend.series) else "no baseline yet" if not known else f"{known} as before"
    many = len(trend.series)
    return Words(f"{many} {'series' if many > 1 else 'route'}: {how}{spread}.", at)


def _spread(medians: list[float]) -> str:
    low, high = significant(medians[0]), significant(medians[-1])
    return f", median {low} ms" if low == high else f", medians {low} to {high} ms"


async def readable_services(container: AdminServices, caller: Caller) -> list[str]:
    """The services that who asks may see."""
    return [name for name in await asyncio.to_thread(load_services, container.settings.config) if caller.readable(name)]


async def said_of(container: AdminServices, service: str) -> Words:
    """A service's last measurement in words."""
    points = await container.points(service, None)
    return words(await container.trend(service, points), points)


@router.get("/pages/services")
async def all_services(request: Request, container: ServicesDep, caller: CallerDep) -> Response:
    """Every service with its last measurement."""
    services = await readable_services(container, caller)
    told = await asyncio.gather(*(said_of(container, name) for name in services))
    return page(request, "services.html", services=list(zip(services, told, strict=True)))


@router.get("/pages/services/{service}")
async def one_service(request: Request, service: str, container: ServicesDep, caller: CallerDep) -> Response:
    """What its measured routes were like in the last 30 days, beside its changes; its last audit; its runs."""
    points = await container.points(service, None)  # first: it knows whether there is such a service
    runs = await container.runs(
        service=service, states=[*triage.NOW, *triage.ENDED], limit=LIMIT, readable=caller.readable
    )
    region = live.region(
        request,
        "runs_live.html",
        stale=live.stale(container),
        moves=bool(triage.runs_now(runs)),
        runs=runs,
        older=urlencode({"service": service, "since": "ever"}),
    )
    if live.is_asked(request):
        return live.answer(request, region)
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
        said=words(trend, points),
        report=Markup(to_html(trend_report(trend))),  # noqa: S704 - to_html lets no HTML of a text pass
        drawn_by=points[-1].run_id if points else "",
        audited=audited,
        folders=[each for each in folders if each.document is not None and each.document.service == service],
        live=region.html,
    )
