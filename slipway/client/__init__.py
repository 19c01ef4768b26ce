"""A typed client of the admin service, for programs: start jobs, follow runs, approve, pause and cancel runs.

    from slipway.client import Slipway

    with Slipway("http://127.0.0.1:8400", token=os.environ["SLIPWAY_TOKEN"]) as slipway:
        run = slipway.start("ship-change", {"change": "order-history-index"}, key="deploy-4711")
        for run in slipway.follow(run.id):
            print(run.state.name, run.running_step)

Every method raises SlipwayError with the texts of the service's problem document: InvalidInput (422), Unavailable (503 or
no response: a retry is safe), and SlipwayError for other errors. Members that a newer service adds are ignored.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict

from slipway.client.http import OVER, AdminClient

Action = Literal["approve", "reject", "cancel", "pause", "resume"]


class ApiModel(BaseModel):
    """A response of the service; unknown members are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class State(ApiModel):
    """Prefect's type of the state (SCHEDULED, RUNNING, COMPLETED, …), its name (Kept, RolledBack, …) and its message."""

    type: str
    name: str
    message: str | None


class Job(ApiModel):
    """A job: its card in Markdown, the JSON Schema of its parameters, whether its schedules are off."""

    name: str
    card: str
    parameters: dict[str, Any]
    paused: bool


class Step(ApiModel):
    """One step of a run; `seconds` is its duration."""

    name: str
    state: State
    started: datetime | None
    ended: datetime | None
    seconds: float | None


class Line(ApiModel):
    """A run in a list."""

    id: str
    name: str
    job: str | None
    service: str | None
    change: str | None
    state: State
    parameters: dict[str, Any]
    created: datetime
    started: datetime | None
    ended: datetime | None

    @property
    def over(self) -> bool:
        """Whether the run has ended, in any state."""
        return self.state.type in OVER


class Run(Line):
    """A run with its steps and outcomes; members of steps that have not run are None or empty."""

    asked_by: str | None
    steps: tuple[Step, ...]
    findings: tuple[dict[str, Any], ...]
    verdict: dict[str, Any] | None
    decision: dict[str, Any] | None
    failures: tuple[dict[str, Any], ...]
    record: dict[str, Any] | None

    @property
    def running_step(self) -> str | None:
        """The name of the running step."""
        return next((step.name for step in reversed(self.steps) if step.state.type == "RUNNING"), None)


class Slipway:
    """One admin service at a URL."""

    def __init__(self, url: str, token: str = "") -> None:
        self._client = AdminClient(url, token)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def jobs(self) -> list[Job]:
        """Return all jobs."""
        return [Job.model_validate(job) for job in self._client.jobs()]

    def start(self, job: str, parameters: dict[str, Any], *, key: str | None = None) -> Line:
        """Start a run of a job. The same `key` with the same parameters returns the same run."""
        return Line.model_validate(self._client.start(job, parameters, key=key))

    def run(self, run_id: str) -> Run:
        """Return one run."""
        return Run.model_validate(self._client.run(run_id))

    def runs(self, limit: int = 50) -> list[Line]:
        """Return the newest runs."""
        return [Line.model_validate(run) for run in self._client.runs(limit)]

    def follow(self, run_id: str) -> Iterator[Run]:
        """Yield the run at intervals until it has ended; the last one yielded has ended."""
        return (Run.model_validate(run) for run in self._client.follow(run_id))

    def act(self, run_id: str, action: Action, why: str) -> Line:
        """Approve, reject, cancel, pause or resume a run. The reason is written to its record."""
        return Line.model_validate(self._client.act(run_id, action, why))

    def retry(self, run_id: str) -> Line:
        """Start the same job with the same parameters again. Return the new run."""
        return Line.model_validate(self._client.retry(run_id))

    def roll_back(self, run_id: str) -> Line:
        """Roll back the change that a run shipped. Return the new run."""
        return Line.model_validate(self._client.roll_back(run_id))
