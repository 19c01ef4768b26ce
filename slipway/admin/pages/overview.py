"""The overview page: runs in flight, runs that wait for a person, failed and completed runs, services and jobs."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response

from slipway.admin.auth.caller import Caller, CallerDep
from slipway.admin.pages import live, triage
from slipway.admin.pages.estimate import Estimate, estimate, similar_run
from slipway.admin.pages.services import last_summary, readable_services
from slipway.admin.prefect_api import Document
from slipway.admin.services import AdminServices, ServicesDep
from slipway.admin.templating import page

LIMIT = 1_000  # ended runs to read: hourly measurements must not push out a run that waits for a person
WEEK = timedelta(days=7)
SHOWN = 10  # runs of a group; the pages of the jobs and services list the rest
PLANNED = 2_000  # planned runs come first in a list and must not hide runs in flight
LONGEST = timedelta(days=40)  # maximum age of a run in flight: a run may wait 30 days for approval
router = APIRouter(include_in_schema=False)


@router.get("/")
async def overview(request: Request, container: ServicesDep, caller: CallerDep) -> Response:
    """Show the runs in flight, the runs that wait, the runs that ended in the last seven days, the services and the jobs."""
    groups = await container.overview.get(caller.grants, lambda: _live_groups(container, caller))
    now = live.region(request, "overview_live.html", stale=live.stale_notice(container), polling=True, **groups)
    if live.is_live_request(request):
        return live.respond(request, now)
    services = await readable_services(container, caller)
    planned, jobs = await asyncio.gather(
        container.runs(states=["SCHEDULED"], limit=PLANNED, readable=caller.readable), container.jobs.all()
    )
    summaries = await asyncio.gather(*(last_summary(container, name) for name in services))
    summarised = list(zip(services, summaries, strict=True))
    return page(request, "overview.html", live=now.html, services=summarised, jobs=jobs, next_runs=_next_runs(planned))


async def _live_groups(container: AdminServices, caller: Caller) -> dict[str, Any]:
    """Return the groups of runs that the live part shows."""
    moment = datetime.now(UTC)
    since, week = moment - LONGEST, (moment - WEEK).isoformat()
    in_flight, ended = await asyncio.gather(
        container.runs(states=list(triage.NOW), since=since, limit=PLANNED, readable=caller.readable),
        container.runs(states=list(triage.ENDED), since=since, limit=LIMIT, readable=caller.readable),
    )
    now, newest_first = triage.runs_now(in_flight), sorted([*in_flight, *ended], key=_created, reverse=True)
    waits, recent = triage.waiting(newest_first), [run for run in ended if _created(run) >= week]
    return {
        "now": list(
            zip(now, await asyncio.gather(*(_estimate(container, run, ended) for run in now[:SHOWN])), strict=False)
        ),
        "more": len(now[SHOWN:]),
        "waits": [(run, triage.needed_action(run)) for run in waits],
        "failed": triage.failed(recent, waits)[:SHOWN],
        "done": triage.done(recent)[:SHOWN],
    }


async def _estimate(container: AdminServices, run: Document, ended: list[Document]) -> Estimate:
    """Return the progress of a run in flight, compared with a similar run among `ended`."""
    earlier_id = similar_run(run, ended)
    detail, earlier = await asyncio.gather(container.detail(UUID(run["id"])), _detail_or_none(container, earlier_id))
    return estimate(detail, earlier, datetime.now(UTC))


async def _detail_or_none(container: AdminServices, run_id: str | None) -> Document | None:
    return await container.detail(UUID(run_id)) if run_id else None


def _created(run: Document) -> str:
    return str(run["created"])


def _next_runs(scheduled: list[Document]) -> dict[str, str]:
    """Return the time of the next planned run of each job."""
    return {run["job"]: run["planned"] for run in scheduled if run["planned"]}  # the last entry is the next run
