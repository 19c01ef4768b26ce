"""Response schemas for /openapi.json. They document responses only; responses are not validated against them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field, JsonValue

from slipway.accounts.grants import AccessLogEntry
from slipway.admin.problems import TITLE

StateType = Literal[
    "SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING", "COMPLETED", "FAILED", "CRASHED", "CANCELLED"
]
Fields = dict[str, JsonValue]


OPEN: Fields = {"security": []}  # for a route that needs no sign-in
TOKEN: Fields = {"type": "http", "scheme": "bearer", "description": "A token from `slipway access token`."}
SESSION: Fields = {
    "type": "apiKey",
    "in": "cookie",
    "name": "slipway_session",
    "description": "The pages' session.",
}


class Problem(BaseModel):
    """An RFC 9457 problem, with what failed, what was expected, and whether a retry is safe."""

    type: str
    title: str
    status: int
    detail: str
    failed: str
    expected: str
    retry_is_safe: bool


class Health(BaseModel):
    """The process is running."""

    ok: bool


class Ready(BaseModel):
    """Whether Prefect and the store answer, and a message for each that does not."""

    ready: bool
    missing: list[str]


class Schedule(BaseModel):
    """A schedule that starts a job, and the parameters of its runs."""

    schedule: Fields
    active: bool
    parameters: Fields


class Disabled(BaseModel):
    """Who disabled a job, when and why."""

    by: str
    why: str
    since: datetime


class Job(BaseModel):
    """A job: its card (Markdown), the JSON Schema of its parameters, its schedules."""

    name: str
    card: str
    parameters: Fields
    schedules: list[Schedule]
    paused: bool = Field(description="whether the job's schedules are switched off")
    disabled: Disabled | None = Field(description="set if the job is disabled: no run can be started")


class State(BaseModel):
    """Prefect's type of a state, its name (Kept, RolledBack, Frozen …) and its message."""

    type: str | None
    name: str | None
    message: str | None


class RunLine(BaseModel):
    """A run in a list."""

    id: UUID
    name: str
    job: str | None
    parameters: Fields
    service: str | None
    change: str | None
    state: State
    created: datetime
    planned: datetime | None = Field(description="the planned start, for a run of a schedule")
    started: datetime | None
    ended: datetime | None


class Runs(BaseModel):
    """A page of runs, newest first."""

    runs: list[RunLine]
    next: str | None = Field(description="the cursor of the next page, or null")
    as_of: datetime
    age_s: float = Field(
        description="the age of the data in seconds; more than a few seconds if Prefect does not answer"
    )


class Step(BaseModel):
    """A step of a run."""

    name: str
    state: State
    started: datetime | None
    ended: datetime | None
    seconds: float | None


class Progress(BaseModel):
    """The share of the running step that is done, from 0 to 1, and the remaining seconds."""

    step: str
    share: float
    eta_s: float | None


class Failure(BaseModel):
    """A failure of a step."""

    step: str
    failed: str
    expected: str
    retry_is_safe: bool


class Run(RunLine):
    """Everything about a run; members of steps that have not run are null or empty."""

    asked_by: str | None = Field(description="the person who started the run, or who owns the token that did")
    steps: list[Step]
    progress: Progress | None
    leaving: Fields | None
    findings: list[Fields]
    measurements: list[Fields]
    rehearsal: Fields | None
    backfill: Fields | None
    audit: Fields | None
    verdict: Fields | None
    decision: Fields | None
    failures: list[Any]
    record: Fields | None
    missing: list[Literal["steps", "outcomes"]] = Field(description="the parts that could not be read")
    as_of: datetime
    age_s: float


class Event(BaseModel):
    """One server-sent event of a run; a stream also sends comments as heartbeats."""

    id: str = Field(description="send as Last-Event-ID to continue after this event")
    event: Literal["run", "change", "resync", "end"]
    data: str


class LogLine(BaseModel):
    """A line of a run's log."""

    at: datetime
    level: str
    logger: str
    message: str
    step_id: UUID | None


class Logs(BaseModel):
    """Some lines, oldest first; `next` is the cursor to continue from, even if there are no more lines yet."""

    logs: list[LogLine]
    next: str | None
    more: bool


class History(BaseModel):
    """The history of a service: every series with its baseline, the changes, and the points."""

    service: str
    series: list[Fields]
    marks: list[Fields]
    points: list[Fields]


class AccessLogPage(BaseModel):
    """Some entries, newest first; `next` is the cursor of older entries, or null."""

    entries: list[AccessLogEntry]
    next: int | None


STATUS_TEXT = {
    401: "The caller is not signed in, or the token is not valid.",
    403: "The caller lacks the permission.",
    404: "The requested object does not exist.",
    409: "The request conflicts with the current state.",
    413: "The body is too large; nothing was started.",
    422: "The request is not valid; nothing was changed.",
    429: "Too many triggers; retry after the seconds in Retry-After.",
    500: "This service failed because of a bug.",
    503: "Prefect or the store does not answer; retry after the seconds in Retry-After.",
}
RETRY_AFTER = {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}
LOCATION = {"Location": {"description": "the URL of the run", "schema": {"type": "string"}}}
AGE = {"Age": {"description": "age of the response data, in seconds (RFC 9111)", "schema": {"type": "integer"}}}
Documented = dict[int | str, dict[str, Any]]


def problems(*statuses: int) -> Documented:
    """Return the OpenAPI responses for these error statuses."""
    return {
        status: {
            "description": f"{TITLE[status]}. {STATUS_TEXT[status]}",
            "content": {"application/problem+json": {"schema": Problem.model_json_schema()}},
            **({"headers": RETRY_AFTER} if status in (429, 503) else {}),
        }
        for status in statuses
    }


EVERYWHERE = problems(401, 403, 422, 500)
READING = problems(503)
ACTING = problems(404, 409, 413, 503)
STARTING = problems(404, 409, 413, 429, 503)


def with_sign_in(describe: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """Add the two ways to authenticate to an OpenAPI document."""

    def with_security() -> dict[str, Any]:
        document = describe()
        document["components"]["securitySchemes"] = {"token": TOKEN, "session": SESSION}
        document["security"] = [{"token": []}, {"session": []}]
        return document

    return with_security
