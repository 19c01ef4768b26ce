"""The page of a run: its state, steps, findings, measurements, verdict, record and log."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from fastapi import APIRouter, Request, Response
from markupsafe import Markup

from slipway.admin.auth.caller import Caller, CallerDep
from slipway.admin.markdown import to_html
from slipway.admin.pages import live, triage
from slipway.admin.pages.buttons import possible_actions
from slipway.admin.pages.changes import PICTURE
from slipway.admin.pages.estimate import IN_FLIGHT, Estimate, estimate, similar_run
from slipway.admin.prefect_api import Document
from slipway.admin.problems import NotFound
from slipway.admin.services import AdminServices, ServicesDep
from slipway.admin.templating import link, page
from slipway.migrations.outcomes import Rehearsal
from slipway.shipping.rehearsal_report import report

EARLIER = 20  # earlier runs to search for a similar run
router = APIRouter(include_in_schema=False)


@router.get("/pages/runs/{run_id}")
async def one_run(request: Request, run_id: UUID, container: ServicesDep, caller: CallerDep) -> Response:
    """Show the current state of a run. While the run is in flight, the page refreshes itself."""
    run = await container.detail(run_id)
    polling = run["state"]["type"] in IN_FLIGHT
    region = live.region(
        request,
        "run_live.html",
        stale=live.stale_notice(container),
        polling=polling,
        run=run,
        estimate=await _estimate(container, caller, run) if polling else Estimate(),
        needed_action=triage.needed_action(run),
        actions=possible_actions(run),
        rehearsal=_rehearsal(run),
        record=_record(request, run),
        trend=any(step["name"] == "keep history" and step["state"]["type"] == "COMPLETED" for step in run["steps"]),
    )
    if live.is_live_request(request):
        return live.respond(request, region)
    return page(
        request, "run.html", run=run, live=region.html, prefect_url=f"{container.prefect_ui}/runs/flow-run/{run_id}"
    )


@router.get("/pages/runs/{run_id}/logs")
async def logs(request: Request, run_id: UUID, container: ServicesDep) -> Response:
    """Show the last lines of a run's log."""
    run = await container.detail(run_id)
    polling = run["state"]["type"] in IN_FLIGHT
    region = live.region(
        request, "logs_live.html", polling=polling, element_id="lines", lines=await container.last_logs(run_id)
    )
    if live.is_live_request(request):
        return live.respond(request, region)
    return page(request, "logs.html", run=run, live=region.html)


@router.get("/pages/runs/{run_id}/picture.svg")
async def picture(run_id: UUID, container: ServicesDep) -> Response:
    """Return the picture that a run has drawn, of its record or of a service's history. Raises NotFound."""
    records = [outcome.body for outcome in await container.outcomes_of(run_id) if outcome.kind in ("Record", "Trend")]
    if not records or not records[-1].get("picture_svg"):
        raise NotFound(f"Run {run_id} has no picture.", expected="A run that has measured a service.")
    # The headers stop the browser from running scripts or loading anything that the SVG names.
    return Response(records[-1]["picture_svg"], media_type="image/svg+xml", headers=PICTURE)


async def _estimate(container: AdminServices, caller: Caller, run: Document) -> Estimate:
    """Return the progress of a run, from its rows or from an earlier run of its job."""
    earlier = None
    if run["job"] and not run["backfill"]:
        others = await container.runs(job=run["job"], states=["COMPLETED"], limit=EARLIER, readable=caller.readable)
        similar_id = similar_run(run, others)
        earlier = await container.detail(UUID(similar_id)) if similar_id else None
    return estimate(run, earlier, datetime.now(UTC))


def _rehearsal(run: Document) -> Markup:
    rehearsal = run["rehearsal"]
    return _html(report(Rehearsal.model_validate(rehearsal))) if rehearsal else Markup("")


def _record(request: Request, run: Document) -> Markup:
    record = run["record"]
    images = link(request, f"/pages/runs/{run['id']}/picture.svg")
    return _html(record["markdown"], images=images) if record else Markup("")


def _html(markdown: str, *, images: str = "") -> Markup:
    return Markup(to_html(markdown, images=images))  # noqa: S704 - to_html escapes HTML in the text
