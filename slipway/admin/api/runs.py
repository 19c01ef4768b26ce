"""Runs: the list, one run with everything that is known of it, its log, and what happens to it as it happens."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Query, Response
from pydantic_core import to_json

from slipway.admin import schemas
from slipway.admin.auth.caller import CallerDep
from slipway.admin.event_stream import EventStream
from slipway.admin.read_model import RunFilter
from slipway.admin.services import AdminServices, ServicesDep
from slipway.core.frozen import ServiceName

Cursor = Annotated[str, Query(max_length=2_000)]
STREAM: schemas.Documented = {
    200: {
        "description": "Server-sent events; the schema is of one, with its data as JSON.",
        "content": {"text/event-stream": {"schema": schemas.Event.model_json_schema()}},
    },
    204: {"description": "The run is over, and the caller has seen its end."},
}
router = APIRouter(tags=["runs"])


@router.get(
    "/runs", response_model=schemas.Runs, responses={**schemas.problems(404, 503), 200: {"headers": schemas.AGE}}
)
async def runs(
    container: ServicesDep,
    caller: CallerDep,
    job: Annotated[str | None, Query(max_length=200)] = None,
    state: schemas.StateType | None = None,
    service: Annotated[ServiceName | None, Query()] = None,
    since: datetime | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Cursor = "",
) -> Any:
    """Runs, the newest first; those of the last seven days unless `since` says otherwise.

    What a schedule has only planned is listed with state=SCHEDULED.
    """
    wanted = RunFilter(job, (state,) if state else (), service, caller.readable)
    page = await container.page(wanted, limit=limit, since=since, cursor=cursor)
    return _aged(container, b'{"runs":[%b],"next":%b' % (b",".join(page.encoded), to_json(page.next)))


@router.get(
    "/runs/{run_id}",
    response_model=schemas.Run,
    responses={**schemas.problems(404, 503), 200: {"headers": schemas.AGE}},
)
async def one_run(run_id: UUID, container: ServicesDep) -> Any:
    """One run: its steps, findings, measurements, verdict, decision and record."""
    return _aged(container, (await container.full(run_id)).head)


@router.get("/runs/{run_id}/logs", response_model=schemas.Logs, responses=schemas.problems(404, 503))
async def logs(
    run_id: UUID, container: ServicesDep, after: Cursor = "", limit: Annotated[int, Query(ge=1, le=200)] = 200
) -> Any:
    """Lines of the run's log, the oldest first; `next` of an answer is the `after` of the next request."""
    return await container.logs(run_id, after=after, limit=limit)


@router.get("/runs/{run_id}/events", response_class=Response, responses={**schemas.problems(404, 503), **STREAM})
async def events(
    run_id: UUID, container: ServicesDep, last_event_id: Annotated[str, Header(max_length=100)] = ""
) -> Response:
    """What happens to the run, as server-sent events, until it is over.

    `run`: all of it. `change`: the members that have changed. `end`: it is over. `resync`: what came since the given
    Last-Event-ID cannot be told any more, and a `run` follows.
    """
    if await container.seen_its_end(run_id, last_event_id):
        return Response(status_code=204)  # a browser does not come back then
    return EventStream(await container.changes(run_id, last_event_id))


def _aged(container: AdminServices, head: bytes) -> Response:
    """An answer with its age, as members and as a header."""
    age = container.age_s
    body = b'%b,"as_of":%b,"age_s":%b}' % (head, to_json(container.as_of), b"%.1f" % age)
    return Response(body, media_type="application/json", headers={"Age": str(int(age)), "Cache-Control": "no-store"})
