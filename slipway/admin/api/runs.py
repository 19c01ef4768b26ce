"""The routes for runs: the list, one run, its log, and its event stream."""

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
        "description": "Server-sent events; the schema describes one event, with its data as JSON.",
        "content": {"text/event-stream": {"schema": schemas.Event.model_json_schema()}},
    },
    204: {"description": "The run has ended, and the caller has received its last event."},
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
    """Return runs, newest first, since a time (default: 7 days ago).

    Future runs of a schedule are listed only with state=SCHEDULED.
    """
    run_filter = RunFilter(job, (state,) if state else (), service, caller.readable)
    page = await container.page(run_filter, limit=limit, since=since, cursor=cursor)
    return _aged(container, b'{"runs":[%b],"next":%b' % (b",".join(page.encoded), to_json(page.next)))


@router.get(
    "/runs/{run_id}",
    response_model=schemas.Run,
    responses={**schemas.problems(404, 503), 200: {"headers": schemas.AGE}},
)
async def one_run(run_id: UUID, container: ServicesDep) -> Any:
    """Return one run: its steps, findings, measurements, verdict, decision and record."""
    return _aged(container, (await container.full(run_id)).head)


@router.get("/runs/{run_id}/logs", response_model=schemas.Logs, responses=schemas.problems(404, 503))
async def logs(
    run_id: UUID, container: ServicesDep, after: Cursor = "", limit: Annotated[int, Query(ge=1, le=200)] = 200
) -> Any:
    """Return lines of the run's log, oldest first. Send `next` of a response as `after` of the next request."""
    return await container.logs(run_id, after=after, limit=limit)


@router.get("/runs/{run_id}/events", response_class=Response, responses={**schemas.problems(404, 503), **STREAM})
async def events(
    run_id: UUID, container: ServicesDep, last_event_id: Annotated[str, Header(max_length=100)] = ""
) -> Response:
    """Send the changes of the run as server-sent events until the run has ended.

    `run`: the whole run. `change`: the changed members. `end`: the run has ended. `resync`: the changes since the given
    Last-Event-ID are no longer kept, and a `run` event follows.
    """
    if await container.has_seen_end(run_id, last_event_id):
        return Response(status_code=204)  # a browser does not reconnect after 204
    return EventStream(await container.changes(run_id, last_event_id))


def _aged(container: AdminServices, head: bytes) -> Response:
    """Return a response with its age, as JSON members and as a header."""
    age = container.age_s
    body = b'%b,"as_of":%b,"age_s":%b}' % (head, to_json(container.as_of), b"%.1f" % age)
    return Response(body, media_type="application/json", headers={"Age": str(int(age)), "Cache-Control": "no-store"})
