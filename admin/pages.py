"""The pages: read-only, drawn on the server from what the JSON doors answer; whoever has no script sees all of it."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from fastapi import APIRouter, FastAPI, Response
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from admin.doors import TheDoors
from admin.jobs import describe
from admin.markdown import to_html
from admin.prefect_api import Document
from admin.problems import NotFound
from slipway.errors import SlipwayError
from slipway.outcomes import Rehearsal
from slipway.reporting import report, trend_report
from slipway.service import load_services

HERE = Path(__file__).parent
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "CRASHED")
IN_FLIGHT = ("PENDING", "RUNNING", "PAUSED", "CANCELLING")
GOOD, BAD = {"Kept", "Passed", "Completed", "Backfilled", "Fit", "RolledBack"}, {"FAILED", "CRASHED"}
LIMIT = 50  # runs on the overview
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
router = APIRouter(include_in_schema=False)
templates = Environment(
    loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)


def install(app: FastAPI) -> None:
    """Add the pages and what they are made of."""
    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")
    app.include_router(router)


@router.get("/")
async def overview(doors: TheDoors) -> HTMLResponse:
    """What runs, what waits, what has ended in the last seven days; the services and the jobs."""
    services = await asyncio.to_thread(load_services, doors.settings.config)
    begun, waiting, jobs = await asyncio.gather(
        doors.runs(states=[*IN_FLIGHT, *ENDED], limit=LIMIT),
        doors.runs(states=["SCHEDULED"], limit=200),
        doors.jobs.all(),
    )
    now = [run for run in waiting if not run["planned"]] + [run for run in begun if run["state"]["type"] in IN_FLIGHT]
    ended = [run for run in begun if run["state"]["type"] in ENDED]
    groups = (("Now", now), ("Ended in the last seven days", ended))
    return _page("overview.html", groups=groups, services=services, jobs=jobs, soon=_soon(waiting), live=bool(now))


@router.get("/pages/jobs/{job}")
async def one_job(job: str, doors: TheDoors) -> HTMLResponse:
    """A job: its card, its parameters, its schedules, its runs."""
    found = describe(await doors.jobs.find(job))
    runs = await doors.runs(job=job, states=[*IN_FLIGHT, *ENDED], limit=LIMIT)
    card = _html(found["card"])
    return _page("job.html", job=found, card=card, properties=_properties(found["parameters"]), runs=runs)


@router.get("/pages/services/{service}")
async def one_service(service: str, doors: TheDoors) -> HTMLResponse:
    """A service: what its measured routes were like in the last 30 days, beside its changes; its runs."""
    points = await doors.points(service, None)
    trend = await doors.trend(service, points)
    runs = await doors.runs(service=service, states=[*IN_FLIGHT, *ENDED], limit=LIMIT)
    drawn_by = points[-1].run_id if points else ""
    return _page(
        "service.html", trend=trend, report=_html(trend_report(trend)), drawn_by=drawn_by, runs=runs, service=service
    )


@router.get("/pages/runs/{run_id}")
async def one_run(run_id: UUID, doors: TheDoors) -> HTMLResponse:
    """A run: its steps, what it found and measured, the verdict in words, its record."""
    run = await doors.detail(run_id)
    rehearsal = run["rehearsal"]
    rehearsed = _html(report(Rehearsal.model_validate(rehearsal))) if rehearsal else ""
    record = run["record"]
    written = _html(record["markdown"], images=f"/pages/runs/{run_id}/picture.svg") if record else ""
    live = run["state"]["type"] not in ENDED
    return _page("run.html", run=run, rehearsed=rehearsed, written=written, live=live)


@router.get("/pages/runs/{run_id}/picture.svg")
async def picture(run_id: UUID, doors: TheDoors) -> Response:
    """The picture that a run has drawn, of its record or of a service's history. Raises NotFound."""
    records = [outcome.body for outcome in await doors.left_by(run_id) if outcome.kind in ("Record", "Trend")]
    if not records or not records[-1].get("picture_svg"):
        raise NotFound(f"Run {run_id} has drawn no picture.", expected="A run that has measured.")
    # A picture draws, and does nothing else: what it says of itself is not obeyed.
    headers = {**HEADERS, "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox"}
    return Response(records[-1]["picture_svg"], media_type="image/svg+xml", headers=headers)


def problem_page(status: int, title: str, error: SlipwayError) -> HTMLResponse:
    """An error as a page."""
    page = _page("problem.html", title=title, error=error)
    page.status_code = status
    return page


def _page(name: str, **values: Any) -> HTMLResponse:
    return HTMLResponse(templates.get_template(name).render(**{"live": False, **values}), headers=HEADERS)


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


def _moment(value: str) -> str:
    """A time as the pages write it; a script puts it into the reader's own zone."""
    return f"{datetime.fromisoformat(value):%Y-%m-%d %H:%M:%S} UTC"


def _took(run: Document) -> str:
    if not run["started"] or not run["ended"]:
        return ""
    return _seconds((datetime.fromisoformat(run["ended"]) - datetime.fromisoformat(run["started"])).total_seconds())


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _cell(value: Any) -> str:
    """A number, a word, or who reads a route, in a table of measurements."""
    if isinstance(value, dict):
        return f"{value['route']} as {value['identity']}"
    if isinstance(value, float):
        return f"{value:.2f}"
    return "" if value is None else str(value)


def _mood(state: Document) -> str:
    """How a state is coloured; its words say the same."""
    if state["type"] in BAD or state["name"] in ("GaveUp", "RollBackFailed"):
        return "bad"
    if state["type"] == "COMPLETED":
        return "good" if state["name"] in GOOD else "odd"
    return "odd" if state["type"] in ("PAUSED", "CANCELLED", "CANCELLING") else "busy"


templates.filters.update(moment=_moment, seconds=_seconds, cell=_cell)
templates.globals.update(took=_took, mood=_mood)
