"""The pages of the changes and backfills below changes/: the list, and one change with its plan, runs and record."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response
from markupsafe import Markup

from slipway.admin.auth.caller import Caller, CallerDep
from slipway.admin.jobs import BACKFILL
from slipway.admin.markdown import to_html
from slipway.admin.pages import live, plans, triage
from slipway.admin.pages.buttons import REHEARSE, ROLL_BACK, SHIP
from slipway.admin.pages.form_data import new_key
from slipway.admin.prefect_api import Document
from slipway.admin.services import AdminServices, ServicesDep
from slipway.admin.templating import HEADERS, link, page

LIMIT = 200
PICTURE = {**HEADERS, "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox"}
router = APIRouter(include_in_schema=False)


@router.get("/pages/changes")
async def all_changes(request: Request, container: ServicesDep, caller: CallerDep) -> Response:
    """Show every folder below changes/ with its service and its reason."""
    folders = await asyncio.to_thread(plans.folders, container.settings.changes)
    return page(request, "changes.html", folders=[folder for folder in folders if caller.readable(folder.service)])


@router.get("/pages/changes/{change}")
async def one_change(request: Request, change: str, container: ServicesDep, caller: CallerDep) -> Response:
    """Show one change: its plan, the jobs that can be started for it, its runs and its record."""
    folder = await asyncio.to_thread(plans.read, container.settings.changes, change)
    runs = await _runs(container, caller, folder)
    polling = bool(triage.runs_now(runs))
    region = live.region(
        request, "runs_live.html", stale=live.stale_notice(container), polling=polling, runs=runs, older=""
    )
    if live.is_live_request(request):
        return live.respond(request, region)
    markdown = await asyncio.to_thread(plans.record, container.settings.changes, change)
    record = to_html(markdown, images=link(request, f"/pages/changes/{change}/picture.svg"))
    return page(
        request,
        "change.html",
        folder=folder,
        facts=plans.facts(folder),
        jobs=[BACKFILL] if folder.backfill else [REHEARSE, SHIP, ROLL_BACK] if folder.change else [],
        key=new_key(),
        record=Markup(record),  # noqa: S704 - to_html escapes HTML in the text
        live=region.html,
    )


async def _runs(container: AdminServices, caller: Caller, folder: plans.Folder) -> list[Document]:
    """Return the runs of a change, including those on the staging service."""
    if folder.service is None:
        return []
    states = [*triage.NOW, *triage.ENDED]
    runs = await container.runs(states=states, limit=LIMIT, readable=caller.readable)
    return [run for run in runs if run["change"] == folder.name]


@router.get("/pages/changes/{change}/picture.svg")
async def picture(change: str, container: ServicesDep) -> Response:
    """Return the picture of the record of a change. Raises NotFound."""
    svg = await asyncio.to_thread(plans.picture, container.settings.changes, change)
    return Response(svg, media_type="image/svg+xml", headers=PICTURE)
