"""What the requests answer, for /openapi.json. Nothing is validated by these on the way out: answers are sent as encoded."""

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


OPEN: Fields = {"security": []}  # for a request that needs no sign-in
TOKEN: Fields = {"type": "http", "scheme": "bearer", "description": "A token, as `slipway access token` makes one."}
SESSION: Fields = {"type": "apiKey", "in": "cookie", "name": "slipway_session", "description": "The pages' sign-in."}


class Problem(BaseModel):
    """RFC 9457, with what failed, what was expected, and whether doing the same again is safe."""

    type: str
    title: str
    status: int
    detail: str
    failed: str
    expected: str
    retry_is_safe: bool


class Health(BaseModel):
    """The process lives."""

    ok: bool


class Ready(BaseModel):
    """Whether everything that is needed answers, and what does not."""

    ready: bool
    missing: list[str]


class Schedule(BaseModel):
    """When a job starts by itself, and with which parameters."""

    schedule: Fields
    active: bool
    parameters: Fields


class Disabled(BaseModel):
    """Who has disabled a job."""

    by: str
    why: str
    since: datetime


class Job(BaseModel):
    """A job: its card (Markdown), the JSON Schema of its parameters, its schedules."""

    name: str
    card: str
    parameters: Fields
    schedules: list[Schedule]
    paused: bool = Field(description="its schedules start nothing")
    disabled: Disabled | None = Field(description="nobody can start it")


class State(BaseModel):
    """Prefect's type of a state, its name (Kept, RolledBack, Frozen …) and what it says."""

    type: str | None
    name: str | None
    message: str | None


class RunLine(BaseModel):
    """A run as a list shows it."""

    id: UUID
    name: str
    job: str | None
    parameters: Fields
    service: str | None
    change: str | None
    state: State
    created: datetime
    planned: datetime | None = Field(description="when a schedule starts it")
    started: datetime | None
    ended: datetime | None


class Runs(BaseModel):
    """A page of runs, the newest first."""

    runs: list[RunLine]
    next: str | None = Field(description="the cursor of the rest")
    as_of: datetime
    age_s: float = Field(description="how old that is, in seconds; more than a few when Prefect does not answer")


class Step(BaseModel):
    """A step of a run."""

    name: str
    state: State
    started: datetime | None
    ended: datetime | None
    seconds: float | None


class Progress(BaseModel):
    """How far the step at work is, from 0 to 1, and the seconds that are left."""

    step: str
    share: float
    eta_s: float | None


class Failure(BaseModel):
    """What went wrong in a step."""

    step: str
    failed: str
    expected: str
    retry_is_safe: bool


class Run(RunLine):
    """Everything that is known of a run; what it has not come to is null or empty."""

    asked_by: str | None = Field(description="the person who asked for it, or in whose name a token did")
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
    missing: list[Literal["steps", "outcomes"]] = Field(description="what could not be read just now")
    as_of: datetime
    age_s: float


class Event(BaseModel):
    """One server-sent event of a run; a stream also has comments, as signs of life."""

    id: str = Field(description="what Last-Event-ID goes on from")
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
    """Some lines, the oldest first; `next` is where to go on, also when there is nothing more by now."""

    logs: list[LogLine]
    next: str | None
    more: bool


class History(BaseModel):
    """What a service was like: every series with its baseline, its changes, and the points."""

    service: str
    series: list[Fields]
    marks: list[Fields]
    points: list[Fields]


class AccessLogPage(BaseModel):
    """Some entries, the newest first; `next` is the cursor of those before them, or null."""

    entries: list[AccessLogEntry]
    next: int | None


SAID = {
    401: "It is not known who asks: no sign-in, or a token that is not good.",
    403: "Who asks may not do this.",
    404: "There is no such thing.",
    409: "It cannot be done now, because of something else that is there.",
    413: "The body is too large; nothing was started.",
    422: "The request is not valid; nothing was touched.",
    429: "Too many triggers; Retry-After says when again.",
    500: "A fault of this service.",
    503: "Prefect or our own store does not answer; Retry-After says when to ask again.",
}
AGAIN = {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}
WHERE = {"Location": {"description": "where the run is", "schema": {"type": "string"}}}
AGE = {"Age": {"description": "of what is answered, in seconds (RFC 9111)", "schema": {"type": "integer"}}}
Documented = dict[int | str, dict[str, Any]]


def problems(*statuses: int) -> Documented:
    """Problem documents as a route documents them."""
    return {
        status: {
            "description": f"{TITLE[status]}. {SAID[status]}",
            "content": {"application/problem+json": {"schema": Problem.model_json_schema()}},
            **({"headers": AGAIN} if status in (429, 503) else {}),
        }
        for status in statuses
    }


EVERYWHERE = problems(401, 403, 422, 500)
READING = problems(503)
ACTING = problems(404, 409, 413, 503)
STARTING = problems(404, 409, 413, 429, 503)


def with_sign_in(describe: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """An OpenAPI document that also says how a caller is known."""

    def described() -> dict[str, Any]:
        found = describe()
        found["components"]["securitySchemes"] = {"token": TOKEN, "session": SESSION}
        found["security"] = [{"token": []}, {"session": []}]
        return found

    return described
