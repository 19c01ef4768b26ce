"""A typed client of the admin service, for programs: start jobs, follow runs, answer and steer them.

    from slipway.client import Slipway

    with Slipway("http://127.0.0.1:8400", token=os.environ["SLIPWAY_TOKEN"]) as slipway:
        run = slipway.start("ship-change", {"change": "order-history-index"}, key="deploy-4711")
        for run in slipway.follow(run.id):
            print(run.state.name, run.at_work)

Every method raises SlipwayError with the words of the service's problem document: InvalidInput (422), Unavailable (503, or
no answer: a retry is safe), and SlipwayError itself for the rest. A member that a newer service adds is ignored.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict

from slipway.client.http import OVER, AdminClient

Action = Literal["approve", "reject", "cancel", "pause", "resume"]


class Answered(BaseModel):
    """What the service answers; members that this client does not know are left out."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class State(Answered):
    """Prefect's type of the state (SCHEDULED, RUNNING, COMPLETED, …), its name (Kept, RolledBack, …) and what it says."""

    type: str
    name: str
    message: str | None


class Job(Answered):
    """A job: its card in Markdown, the JSON Schema of its parameters, whether its schedules are off."""

    name: str
    card: str
    parameters: dict[str, Any]
    paused: bool


class Step(Answered):
    """One step of a run; `seconds` is how long it has taken."""

    name: str
    state: State
    started: datetime | None
    ended: datetime | None
    seconds: float | None


class Line(Answered):
    """A run as a list shows it."""

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
        """Whether it has ended, well or not."""
        return self.state.type in OVER


class Run(Line):
    """A run with its steps and what came of it; what it has not come to is None."""

    asked_by: str | None
    steps: tuple[Step, ...]
    findings: tuple[dict[str, Any], ...]
    verdict: dict[str, Any] | None
    decision: dict[str, Any] | None
    failures: tuple[dict[str, Any], ...]
    record: dict[str, Any] | None

    @property
    def at_work(self) -> str | None:
        """The name of the step that is at work."""
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
        """The jobs that can be started."""
        return [Job.model_validate(job) for job in self._client.jobs()]

    def start(self, job: str, parameters: dict[str, Any], *, key: str | None = None) -> Line:
        """Start a run of a job; the same `key` with the same parameters answers with the same run."""
        return Line.model_validate(self._client.start(job, parameters, key=key))

    def run(self, run_id: str) -> Run:
        """One run."""
        return Run.model_validate(self._client.run(run_id))

    def runs(self, limit: int = 50) -> list[Line]:
        """The newest runs."""
        return [Line.model_validate(run) for run in self._client.runs(limit)]

    def follow(self, run_id: str) -> Iterator[Run]:
        """The run again and again until it has ended, the last time ended."""
        return (Run.model_validate(run) for run in self._client.follow(run_id))

    def say(self, run_id: str, action: Action, why: str) -> Line:
        """Approve, reject, cancel, pause or resume a run; the reason stands in its record."""
        return Line.model_validate(self._client.say(run_id, action, why))

    def retry(self, run_id: str) -> Line:
        """Start the same job with the same parameters again: the new run."""
        return Line.model_validate(self._client.retry(run_id))

    def roll_back(self, run_id: str) -> Line:
        """Roll back the change that a run shipped: the run that does it."""
        return Line.model_validate(self._client.roll_back(run_id))
