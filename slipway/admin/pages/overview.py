"""The first page: what runs, what waits for a person, what failed; the services and the jobs."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response

from slipway.admin.auth.caller import Caller, CallerDep
from slipway.admin.pages import live, triage
from slipway.admin.pages.estimate import Estimate, estimate, similar_run
from slipway.admin.pages.services import readable_services, said_of
from slipway.admin.prefect_api import Document
from slipway.admin.services import AdminServices, ServicesDep
from slipway.admin.templating import page

LIMIT = 1_000  # ended runs that are looked at: what waits for a person must not vanish behind the hourly measurements
WEEK = timedelta(days=7)
SHOWN = 10  # of a group; the rest stands on the pages of its job or service
PLANNED = 2_000  # what the schedules have planned comes first in a list, and must not hide what runs
LONGEST = timedelta(days=40)  # that a run is on its way: it may wait for an approval for 30
router = APIRouter(include_in_schema=False)


@router.get("/")
async def overview(request: Request, container: ServicesDep, caller: CallerDep) -> Response:
    """What runs, what waits, what has ended in the last seven days; the services and the jobs."""
    moving = await container.overview.get(caller.grants, lambda: _moving(container, caller))
    now = live.region(request, "overview_live.html", stale=live.stale(container), moves=True, **moving)
    if live.is_asked(request):
        return live.answer(request, now)
    services = await readable_services(container, caller)
    planned, jobs = await asyncio.gather(
        container.runs(states=["SCHEDULED"], limit=PLANNED, readable=caller.readable), container.jobs.all()
    )
    told = await asyncio.gather(*(said_of(container, name) for name in services))
    told_of = list(zip(services, told, strict=True))
    return page(request, "overview.html", live=now.html, services=told_of, jobs=jobs, soon=_soon(planned))


async def _moving(container: AdminServices, caller: Caller) -> dict[str, Any]:
    """What the live part shows."""
    moment = datetime.now(UTC)
    since, week = moment - LONGEST, (moment - WEEK).isoformat()
    on_the_way, ended = await asyncio.gather(
        container.runs(states=list(triage.NOW), since=since, limit=PLANNED, readable=caller.readable),
        container.runs(states=list(triage.ENDED), since=since, limit=LIMIT, readable=caller.readable),
    )
    now, both = triage.runs_now(on_the_way), sorted([*on_the_way, *ended], key=_created, reverse=True)
    waits, lately = triage.waiting(both), [run for run in ended if _created(run) >= week]
    return {
        "now": list(
            zip(now, await asyncio.gather(*(_look(container, run, ended) for run in now[:SHOWN])), strict=False)
        ),
        "more": len(now[SHOWN:]),
        "waits": [(run, triage.asks(run)) for run in waits],
        "failed": triage.failed(lately, waits)[:SHOWN],
        "done": triage.done(lately)[:SHOWN],
    }


async def _look(container: AdminServices, run: Document, ended: list[Document]) -> Estimate:
    """How far a run is that is on its way."""
    earlier = similar_run(run, ended)
    detail, like = await asyncio.gather(container.detail(UUID(run["id"])), _maybe(container, earlier))
    return estimate(detail, like, datetime.now(UTC))


async def _maybe(container: AdminServices, run_id: str | None) -> Document | None:
    return await container.detail(UUID(run_id)) if run_id else None


def _created(run: Document) -> str:
    return str(run["created"])


def _soon(waiting: list[Document]) -> dict[str, str]:
    """When each job's next run is planned."""
    return {run["job"]: run["planned"] for run in waiting if run["planned"]}  # the last one is the soonest
