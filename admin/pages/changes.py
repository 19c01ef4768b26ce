"""The changes and backfills below changes/: the list, and one with its plan, its runs and its record."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response
from markupsafe import Markup

from admin.access.caller import readable_by_caller
from admin.doors import TheDoors
from admin.markdown import to_html
from admin.pages import live, plans, standing
from admin.pages.buttons import BACKFILL, REHEARSE, ROLL_BACK, SHIP
from admin.pages.posted import new_key
from admin.templating import HEADERS, link, page

LIMIT = 200
PICTURE = {**HEADERS, "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox"}
router = APIRouter(include_in_schema=False)


@router.get("/pages/changes")
async def all_changes(request: Request, doors: TheDoors) -> Response:
    """Every folder below changes/, with its owner and its reason."""
    folders = await asyncio.to_thread(plans.folders, doors.settings.changes)
    return page(request, "changes.html", folders=[each for each in folders if readable_by_caller(each.service)])


@router.get("/pages/changes/{change}")
async def one_change(request: Request, change: str, doors: TheDoors) -> Response:
    """One change: its plan, what can be done with it, its runs, its record."""
    folder = await asyncio.to_thread(plans.read, doors.settings.changes, change)
    service = folder.service
    found = await doors.runs(service=service, states=[*standing.NOW, *standing.ENDED], limit=LIMIT) if service else []
    runs = [run for run in found if run["change"] == change]
    moves = bool(standing.runs_now(runs))
    region = live.region(request, "runs_live.html", moves=moves, runs=runs)
    if live.is_asked(request):
        return live.answer(request, region)
    written = await asyncio.to_thread(plans.record, doors.settings.changes, change)
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


@router.get("/pages/changes/{change}/picture.svg")
async def picture(change: str, doors: TheDoors) -> Response:
    """The picture beside a change's record. Raises NotFound."""
    drawn = await asyncio.to_thread(plans.picture, doors.settings.changes, change)
    return Response(drawn, media_type="image/svg+xml", headers=PICTURE)
