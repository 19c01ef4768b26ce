"""The pages: read-only, drawn on the server from what the JSON doors answer; whoever has no script sees all of it."""

from __future__ import annotations

import asyncio
from uuid import UUID

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from markupsafe import Markup

from admin.access.caller import TheCaller
from admin.doors import TheDoors
from admin.jobs import describe
from admin.markdown import to_html
from admin.prefect_api import Document
from admin.problems import NotFound
from admin.templating import HEADERS, HERE, link, page
from slipway.errors import SlipwayError
from slipway.outcomes import Rehearsal
from slipway.reporting import report, trend_report
from slipway.service import load_services

ENDED = ("COMPLETED", "FAILED", "CANCELLED", "CRASHED")
IN_FLIGHT = ("PENDING", "RUNNING", "PAUSED", "CANCELLING")
LIMIT = 50  # runs on the overview
router = APIRouter(include_in_schema=False)


def install(app: FastAPI) -> None:
    """Add the pages and what they are made of."""
    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")
    app.include_router(router)


@router.get("/")
async def overview(request: Request, doors: TheDoors, caller: TheCaller) -> HTMLResponse:
    """What runs, what waits, what has ended in the last seven days; the services and the jobs."""
    services = [name for name in await asyncio.to_thread(load_services, doors.settings.config) if caller.readable(name)]
    begun, waiting, jobs = await asyncio.gather(
        doors.runs(states=[*IN_FLIGHT, *ENDED], limit=LIMIT, readable=caller.readable),
        doors.runs(states=["SCHEDULED"], limit=200, readable=caller.readable),
        doors.jobs.all(),
    )
    now = [run for run in waiting if not run["planned"]] + [run for run in begun if run["state"]["type"] in IN_FLIGHT]
    ended = [run for run in begun if run["state"]["type"] in ENDED]
    groups = (("Now", now), ("Ended in the last seven days", ended))
    return page(
        request, "overview.html", groups=groups, services=services, jobs=jobs, soon=_soon(waiting), live=bool(now)
    )


@router.get("/pages/jobs/{job}")
async def one_job(request: Request, job: str, doors: TheDoors, caller: TheCaller) -> HTMLResponse:
    """A job: its card, its parameters, its schedules, its runs."""
    found = describe(await doors.jobs.find(job))
    runs = await doors.runs(job=job, states=[*IN_FLIGHT, *ENDED], limit=LIMIT, readable=caller.readable)
    card = _html(found["card"])
    return page(request, "job.html", job=found, card=card, properties=_properties(found["parameters"]), runs=runs)


@router.get("/pages/services/{service}")
async def one_service(request: Request, service: str, doors: TheDoors) -> HTMLResponse:
    """A service: what its measured routes were like in the last 30 days, beside its changes; its runs."""
    points = await doors.points(service, None)
    trend = await doors.trend(service, points)
    runs = await doors.runs(service=service, states=[*IN_FLIGHT, *ENDED], limit=LIMIT)
    drawn_by = points[-1].run_id if points else ""
    return page(
        request,
        "service.html",
        trend=trend,
        report=_html(trend_report(trend)),
        drawn_by=drawn_by,
        runs=runs,
        service=service,
    )


@router.get("/pages/runs/{run_id}")
async def one_run(request: Request, run_id: UUID, doors: TheDoors) -> HTMLResponse:
    """A run: its steps, what it found and measured, the verdict in words, its record."""
    run = await doors.detail(run_id)
    rehearsal = run["rehearsal"]
    rehearsed = _html(report(Rehearsal.model_validate(rehearsal))) if rehearsal else ""
    record = run["record"]
    written = _html(record["markdown"], images=link(request, f"/pages/runs/{run_id}/picture.svg")) if record else ""
    live = run["state"]["type"] not in ENDED
    return page(request, "run.html", run=run, rehearsed=rehearsed, written=written, live=live)


@router.get("/pages/runs/{run_id}/picture.svg")
async def picture(run_id: UUID, doors: TheDoors) -> Response:
    """The picture that a run has drawn, of its record or of a service's history. Raises NotFound."""
    records = [outcome.body for outcome in await doors.left_by(run_id) if outcome.kind in ("Record", "Trend")]
    if not records or not records[-1].get("picture_svg"):
        raise NotFound(f"Run {run_id} has drawn no picture.", expected="A run that has measured.")
    # A picture draws, and does nothing else: what it says of itself is not obeyed.
    headers = {**HEADERS, "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox"}
    return Response(records[-1]["picture_svg"], media_type="image/svg+xml", headers=headers)


def problem_page(request: Request, status: int, title: str, error: SlipwayError) -> HTMLResponse:
    """An error as a page."""
    return page(request, "problem.html", status=status, title=title, error=error)


def _soon(waiting: list[Document]) -> dict[str, str]:
    """When each job's next run is planned."""
    return {run["job"]: run["planned"] for run in waiting if run["planned"]}  # the last one is the soonest


def _html(markdown: str, *, images: str = "") -> Markup:
    return Markup(to_html(markdown, images=images))  # noqa: S704 - to_html lets no HTML of a text pass


def _properties(schema: Document) -> list[Document]:
    """The parameters as rows: name, type, whether it is needed, default, description."""
    needed = schema.get("required") or []
    return [
        {
            "name": name,
            "type": _type_words(found),
            "needed": name in needed,
            "default": found.get("default"),
            "description": found.get("description") or "",
        }
        for name, found in schema.get("properties", {}).items()
    ]


def _type_words(found: Document) -> str:
    kinds = [found, *found.get("anyOf", [])]
    return " or ".join(str(kind["type"]) for kind in kinds if kind.get("type") not in (None, "null")) or "any"
