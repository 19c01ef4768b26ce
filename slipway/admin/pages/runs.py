"""A run: where it stands, what it found and measured, the verdict in words, its record, its log."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from fastapi import APIRouter, Request, Response
from markupsafe import Markup

from slipway.admin.auth.caller import Caller, CallerDep
from slipway.admin.markdown import to_html
from slipway.admin.pages import live, triage
from slipway.admin.pages.buttons import possible
from slipway.admin.pages.changes import PICTURE
from slipway.admin.pages.estimate import IN_FLIGHT, Estimate, estimate, similar_run
from slipway.admin.prefect_api import Document
from slipway.admin.problems import NotFound
from slipway.admin.services import AdminServices, ServicesDep
from slipway.admin.templating import link, page
from slipway.migrations.outcomes import Rehearsal
from slipway.shipping.rehearsal_report import report

EARLIER = 20  # runs among which one is looked for that this one can be compared with
router = APIRouter(include_in_schema=False)


@router.get("/pages/runs/{run_id}")
async def one_run(request: Request, run_id: UUID, container: ServicesDep, caller: CallerDep) -> Response:
    """A run as it stands; while it is on its way the page keeps up with it."""
    run = await container.detail(run_id)
    moves = run["state"]["type"] in IN_FLIGHT
    region = live.region(
        request,
        "run_live.html",
        stale=live.stale(container),
        moves=moves,
        run=run,
        estimate=await _outlook(container, caller, run) if moves else Estimate(),
        asks=triage.asks(run),
        actions=possible(run),
        rehearsed=_rehearsed(run),
        written=_record(request, run),
        trend=any(step["name"] == "keep history" and step["state"]["type"] == "COMPLETED" for step in run["steps"]),
    )
    if live.is_asked(request):
        return live.answer(request, region)
    return page(
        request, "run.html", run=run, live=region.html, in_prefect=f"{container.prefect_ui}/runs/flow-run/{run_id}"
    )


@router.get("/pages/runs/{run_id}/logs")
async def logs(request: Request, run_id: UUID, container: ServicesDep) -> Response:
    """The end of a run's log."""
    run = await container.detail(run_id)
    moves = run["state"]["type"] in IN_FLIGHT
    region = live.region(request, "logs_live.html", moves=moves, where="lines", lines=await container.last_logs(run_id))
    if live.is_asked(request):
        return live.answer(request, region)
    return page(request, "logs.html", run=run, live=region.html)


@router.get("/pages/runs/{run_id}/picture.svg")
async def picture(run_id: UUID, container: ServicesDep) -> Response:
    """The picture that a run has drawn, of its record or of a service's history. Raises NotFound."""
    records = [outcome.body for outcome in await container.left_by(run_id) if outcome.kind in ("Record", "Trend")]
    if not records or not records[-1].get("picture_svg"):
        raise NotFound(f"Run {run_id} has drawn no picture.", expected="A run that has measured.")
    # A picture draws, and does nothing else: what it says of itself is not obeyed.
    return Response(records[-1]["picture_svg"], media_type="image/svg+xml", headers=PICTURE)


async def _outlook(container: AdminServices, caller: Caller, run: Document) -> Estimate:
    """How far it is, by its rows, or beside an earlier run of its job."""
    earlier = None
    if run["job"] and not run["backfill"]:
        others = await container.runs(job=run["job"], states=["COMPLETED"], limit=EARLIER, readable=caller.readable)
        found = similar_run(run, others)
        earlier = await container.detail(UUID(found)) if found else None
    return estimate(run, earlier, datetime.now(UTC))


def _rehearsed(run: Document) -> Markup:
    found = run["rehearsal"]
    return _html(report(Rehearsal.model_validate(found))) if found else Markup("")


def _record(request: Request, run: Document) -> Markup:
    found = run["record"]
    images = link(request, f"/pages/runs/{run['id']}/picture.svg")
    return _html(found["markdown"], images=images) if found else Markup("")


def _html(markdown: str, *, images: str = "") -> Markup:
    return Markup(to_html(markdown, images=images))  # noqa: S704 - to_html lets no HTML of a text pass
