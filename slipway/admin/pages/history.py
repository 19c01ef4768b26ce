"""The list of all runs, including old ones: filtered by job, service, state and age, one page at a time."""

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
FilterValue = Annotated[str, Query(max_length=200)]
router = APIRouter(include_in_schema=False)


@router.get("/pages/runs")
async def runs(
    request: Request,
    container: ServicesDep,
    caller: CallerDep,
    job: FilterValue = "",
    service: FilterValue = "",
    state: FilterValue = "any",
    since: FilterValue = "a week",
    cursor: Annotated[str, Query(max_length=500)] = "",
) -> Response:
    """Show runs, the newest first. `Older` continues from the last one, even if new runs have started."""
    if state not in STATES or since not in SINCE:
        raise InvalidInput("The filter has an unknown value.", expected="A `state` and a `since` that the form offers.")
    run_filter = RunFilter(job or None, STATES[state], service or None, caller.readable)
    begin = datetime.now(UTC) - timedelta(days=SINCE[since]) if SINCE[since] else EPOCH
    listed = await container.page(run_filter, limit=LIMIT, since=begin, cursor=cursor)
    chosen = {"job": job, "service": service, "state": state, "since": since}
    return page(
        request,
        "runs.html",
        stale=live.stale_notice(container),
        runs=listed.runs,
        older=urlencode({**chosen, "cursor": listed.next}) if listed.next else "",
        newest=urlencode(chosen) if cursor else "",
        chosen=chosen,
        choices={
            "job": ["", *(deployed["name"] for deployed in await container.jobs.all())],
            "service": ["", *await readable_services(container, caller)],
            "state": list(STATES),
            "since": list(SINCE),
        },
    )
