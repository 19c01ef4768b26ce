"""The changes and backfills below changes/: the list, and one with its plan, its runs and its record."""

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
    """Every folder below changes/, with its owner and its reason."""
    found = await asyncio.to_thread(plans.folders, container.settings.changes)
    return page(request, "changes.html", folders=[folder for folder in found if caller.readable(folder.service)])


@router.get("/pages/changes/{change}")
async def one_change(request: Request, change: str, container: ServicesDep, caller: CallerDep) -> Response:
    """One change: its plan, what can be done with it, its runs, its record."""
    folder = await asyncio.to_thread(plans.read, container.settings.changes, change)
    runs = await _runs(container, caller, folder)
    moves = bool(triage.runs_now(runs))
    region = live.region(request, "runs_live.html", stale=live.stale(container), moves=moves, runs=runs, older="")
    if live.is_asked(request):
        return live.answer(request, region)
    written = await asyncio.to_thread(plans.record, container.settings.changes, change)
    record = to_html(written, images=link(request, f"/pages/changes/{change}/picture.svg"))
    return page(
        request,
        "change.html",
        folder=folder,
        facts=plans.facts(folder),
        jobs=[BACKFILL] if folder.backfill else [REHEARSE, SHIP, ROLL_BACK] if folder.change else [],
        key=new_key(),
        record=Markup(record),  # noqa: S704 - to_html lets no HTML of a text pass
        live=region.html,
    )


async def _runs(container: AdminServices, caller: Caller, folder: plans.Folder) -> list[Document]:
    """The runs of a change, also those on the staging of its service."""
    if folder.service is None:
        return []
    states = [*triage.NOW, *triage.ENDED]
    found = await container.runs(states=states, limit=LIMIT, readable=caller.readable)
    return [run for run in found if run["change"] == folder.name]


@router.get("/pages/changes/{change}/picture.svg")
async def picture(change: str, container: ServicesDep) -> Response:
    """The picture beside a change's record. Raises NotFound."""
    drawn = await asyncio.to_thread(plans.picture, container.settings.changes, change)
    return Response(drawn, media_type="image/svg+xml", headers=PICTURE)
