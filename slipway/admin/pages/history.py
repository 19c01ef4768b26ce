"""All runs, also old ones: by job, service and state, a page at a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response

from slipway.admin.auth.caller import CallerDep
from slipway.admin.pages import live, triage
from slipway.admin.pages.services import readable_services
from slipway.admin.read_model import EPOCH, RunFilter
from slipway.admin.services import ServicesDep
from slipway.admin.templating import page
from slipway.core.errors import InvalidInput

LIMIT = 50
STATES: dict[str, tuple[str, ...]] = {
    "any": (),
    "on the way": triage.NOW,
    "done": ("COMPLETED",),
    "failed": ("FAILED", "CRASHED"),
    "cancelled": ("CANCELLED",),
}
SINCE = {"a week": 7, "a month": 30, "a year": 365, "ever": 0}
Word = Annotated[str, Query(max_length=200)]
router = APIRouter(include_in_schema=False)


@router.get("/pages/runs")
async def runs(
    request: Request,
    container: ServicesDep,
    caller: CallerDep,
    job: Word = "",
    service: Word = "",
    state: Word = "any",
    since: Word = "a week",
    cursor: Annotated[str, Query(max_length=500)] = "",
) -> Response:
    """The newest first; `Older` goes on from there, whatever comes in meanwhile."""
    if state not in STATES or since not in SINCE:
        raise InvalidInput("The list cannot be chosen so.", expected="The choices of its form.")
    wanted = RunFilter(job or None, STATES[state], service or None, caller.readable)
    begin = datetime.now(UTC) - timedelta(days=SINCE[since]) if SINCE[since] else EPOCH
    found = await container.page(wanted, limit=LIMIT, since=begin, cursor=cursor)
    chosen = {"job": job, "service": service, "state": state, "since": since}
    return page(
        request,
        "runs.html",
        stale=live.stale(container),
        runs=found.runs,
        older=urlencode({**chosen, "cursor": found.next}) if found.next else "",
        newest=urlencode(chosen) if cursor else "",
        chosen=chosen,
        choices={
            "job": ["", *(each["name"] for each in await container.jobs.all())],
            "service": ["", *await readable_services(container, caller)],
            "state": list(STATES),
            "since": list(SINCE),
        },
    )
