"""A stand-in for `AdminServices` with sample runs that have HTML in every field that a user or a service can fill."""

from __future__ import annotations

import asyncio
import copy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from slipway.admin.jobs import describe
from slipway.admin.listing import Page
from slipway.admin.pages.triage import ENDED
from slipway.admin.pages.triage import NOW as NOW_STATES
from slipway.admin.problems import NotFound
from slipway.admin.read_model import RunFilter
from slipway.admin.single_flight import SingleFlight
from slipway.auditing.report import Audit
from slipway.auditing.store import LastAudit
from slipway.core.errors import Unavailable
from slipway.core.settings import Settings
from slipway.measurement.drift import series_of
from slipway.measurement.history import Mark, Point, Trend
from slipway.runs.store import Outcome

ID = UUID("11111111-2222-3333-4444-555555555555")
STARTED = UUID("99999999-2222-3333-4444-555555555555")
EVIL = "<script>alert(1)</script>'\"&"
NOW = datetime.now(UTC)
AT = "2026-11-24T10:00:00.5Z"
CHANGE = "order-history-index"
RUN: dict[str, Any] = {
    "id": str(ID),
    "name": EVIL,
    "job": "backfill",
    "parameters": {"change": EVIL},
    "service": EVIL,
    "change": EVIL,
    "asked_by": EVIL,
    "state": {"type": "RUNNING", "name": EVIL, "message": EVIL},
    "created": AT,
    "planned": None,
    "started": AT,
    "ended": None,
    "steps": [
        {"name": EVIL, "state": {"type": "FAILED", "name": EVIL, "message": EVIL}, "started": AT, "seconds": 130.0}
    ],
    "leaving": {"routes": [EVIL], "tags": [EVIL], "tagged": [EVIL]},
    "findings": [{"level": "info", "summary": EVIL, "explanation": EVIL}],
    "measurements": [
        {
            "step": EVIL,
            "remarks": [EVIL],
            "routes": [{"target": {"route": EVIL, "identity": EVIL}, "median_ms": 1.234, "p90_ms": None}],
        }
    ],
    "rehearsal": {"reversibility": "fails", "losses": [EVIL]},
    "backfill": {
        "total": 1_000,
        "total_is_exact": False,
        "rows_passed": 400,
        "rows_skipped": 2,
        "eta_s": 30.0,
        "held_because": EVIL,
    },
    "audit": {
        "items": [
            {"code": EVIL, "result": "fail", "new": True, "summary": EVIL, "evidence": [EVIL, "line 2"], "mend": EVIL}
        ]
    },
    "verdict": {"verdict": "regressed", "sentence": EVIL},
    "decision": {"word": "freeze", "reason": EVIL},
    "failures": [{"step": EVIL, "failed": EVIL, "expected": EVIL, "retry_is_safe": True}],
    "record": None,
    "missing": [],
    "progress": None,
}
RECORD = {"markdown": f"# {EVIL}\n\n![Latency](before-after.svg)\n", "picture_svg": "<svg/>", "path": "record.md"}
AUDIT = Audit.model_validate(
    {
        "service": "shop",
        "items": [
            {"code": "leak-probe", "result": "fail", "new": True, "summary": EVIL, "evidence": [EVIL], "mend": EVIL},
        ],
    }
)
PLAN = f"""
service = "shop"
owner = "{EVIL.replace('"', "")}"
reason = "{EVIL.replace('"', "")}"
expected = "{EVIL.replace('"', "")}"
rollback = "{EVIL.replace('"', "")}"
approval = "required"
[migrate]
from = "0007"
to = "0008"
[purge]
routes = ["/orders"]
[measure]
targets = [{{ route = "/orders", identity = "customer" }}]
control = {{ route = "/products/1", identity = "customer" }}
"""
PARAMETERS = {
    "type": "object",
    "properties": {
        "service": {"type": "string", "pattern": "^[a-z][a-z0-9-]*$", "title": "Service"},
        "mode": {"$ref": "#/definitions/Mode", "default": "quick", "description": EVIL},
        "rows": {"type": "integer", "minimum": 1, "maximum": 100, "default": 10, "description": "how many at once"},
        "share": {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "null"}], "default": None},
        "routes": {"type": "array", "items": {"type": "string", "pattern": "^/"}, "default": []},
        "careful": {"type": "boolean", "default": True},
        "note": {"type": "string", "maxLength": 2000, "default": EVIL},
        "extra": {"type": "object", "default": {}},
    },
    "required": ["service"],
    "definitions": {"Mode": {"enum": ["quick", "thorough"], "type": "string", "description": EVIL}},
}


def deployment(name: str, parameters: dict[str, Any], *tags: str) -> dict[str, Any]:
    """Return a deployment of a job as Prefect has it."""
    return {
        "id": str(UUID(int=len(name))),
        "name": name,
        "description": f"**Owner:** {EVIL}",
        "parameter_openapi_schema": parameters,
        "schedules": [
            {"schedule": {"cron": "17 * * * *", "timezone": "UTC"}, "active": True, "parameters": {"service": EVIL}}
        ],
        "paused": False,
        "tags": ["job", *tags],
    }


OF_A_CHANGE = {
    "type": "object",
    "properties": {
        "change": {"type": "string", "pattern": "^[a-z0-9-]+$", "description": EVIL},
        "staging": {"type": "boolean", "default": False},
    },
    "required": ["change"],
}


class Jobs:
    """A stand-in for `admin.jobs.Jobs` that records starts and switches."""

    def __init__(self) -> None:
        self.deployments = {
            "backfill": deployment("backfill", OF_A_CHANGE, "confirm"),
            "ship-change": deployment("ship-change", OF_A_CHANGE, "confirm"),
            "roll-back-change": deployment("roll-back-change", OF_A_CHANGE, "confirm"),
            "warm-up": deployment("warm-up", PARAMETERS),
        }
        self.started: list[tuple[str, dict[str, Any], str]] = []
        self.switched: list[tuple[str, dict[str, Any]]] = []
        self.disabled: dict[str, dict[str, str]] = {}
        self.refuses: Exception | None = None

    async def all(self) -> list[dict[str, Any]]:
        return [describe(job) | {"disabled": self.disabled.get(name)} for name, job in self.deployments.items()]

    async def one(self, name: str) -> dict[str, Any]:
        return next(job for job in await self.all() if job["name"] == name)

    async def switch(self, name: str, **what: Any) -> None:
        await self.find(name)
        self.switched.append((name, what))

    async def find(self, name: str) -> dict[str, Any]:
        if name not in self.deployments:
            raise NotFound(f"There is no job {name!r}.", expected=f"One of: {', '.join(self.deployments)}.")
        return self.deployments[name]

    async def start(self, name: str, parameters: dict[str, Any], key: str) -> dict[str, Any]:
        if self.refuses:
            raise self.refuses
        self.started.append((name, parameters, key))
        return {"id": str(STARTED)}


class Answers:
    """A stand-in for `Prefect` and `Attempts` that records the calls of actions."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    async def resume(self, run_id: str, run_input: dict[str, Any]) -> str:
        self.calls.append(("resume", run_id, run_input))
        return "ACCEPT"

    async def set_state(self, run_id: str, state: str, message: str) -> None:
        self.calls.append(("set_state", run_id, state))

    def request_cancel(self, run_id: str, by: str) -> None:
        self.calls.append(("cancel", run_id, by))

    def request_pause(self, run_id: str, by: str) -> None:
        self.calls.append(("pause", run_id, by))

    def end_pause(self, run_id: str) -> bool:
        self.calls.append(("end pause", run_id))
        return True


class MadeUp:
    """The part of `AdminServices` that the pages use."""

    prefect_ui = "http://127.0.0.1:4200"
    age_s = 0.5

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(config=folder / "slipway.toml", changes=folder / "changes")
        self.settings.config.write_text('[[service]]\nname = "shop"\nurl = "http://127.0.0.1:9"\nroutes = ["/"]\n')
        (self.settings.changes / CHANGE).mkdir(parents=True)
        (self.settings.changes / CHANGE / "change.toml").write_text(PLAN)
        (self.settings.changes / CHANGE / "record.md").write_text(RECORD["markdown"])
        (self.settings.changes / CHANGE / "before-after.svg").write_text("<svg/>")
        self.jobs, self.prefect = Jobs(), Answers()
        self.attempts = self.prefect
        self.sample: dict[str, Any] = copy.deepcopy(RUN)
        self.others: list[dict[str, Any]] = []
        self.lines = [
            {"at": AT, "level": level, "message": f"{EVIL} {level}"} for level in ("info", "warning", "error")
        ]
        self.queries: list[tuple[str | None, str | None, tuple[str, ...]]] = []
        self.overview: SingleFlight[dict[str, Any]] = SingleFlight(0.0)
        self.recorded: list[str] = []
        self.page_request: tuple[RunFilter, datetime, str] | None = None
        self.away = False
        self.audit: LastAudit | None = LastAudit(run_id=str(ID), at=NOW, audit=AUDIT)

    async def run(self, run_id: UUID) -> dict[str, Any]:
        for run in (self.sample, *self.others):
            if run["id"] == str(run_id):
                return run
        raise NotFound(f"There is no run {run_id}.", expected="The id of a run.")

    async def detail(self, run_id: UUID) -> dict[str, Any]:
        return await self.run(run_id)

    async def last_logs(self, run_id: UUID) -> list[dict[str, Any]]:
        return self.lines

    async def runs(
        self,
        *,
        job: str | None = None,
        service: str | None = None,
        states: Any = (),
        since: datetime | None = None,
        limit: int = 0,
        readable: Any = None,
    ) -> list[dict[str, Any]]:
        await asyncio.sleep(0)
        if self.away:
            raise Unavailable("Prefect does not answer: ConnectError.", expected="A Prefect server.")
        self.queries.append((job, service, tuple(states)))
        every = [{**self.sample, "planned": AT, "state": {**self.sample["state"], "type": "SCHEDULED"}}]
        every += [self.sample, *self.others]
        matching = [run for run in every if run["state"]["type"] in states and job in (None, run["job"])]
        newest = sorted(matching, key=lambda run: str(run["created"]), reverse=True)
        return [run for run in newest if readable(run["service"])][: limit or None]

    async def trend(self, service: str, points: list[Point]) -> Trend:
        mark = Mark(at=NOW, change=EVIL, came_of_it="kept")
        return Trend(service=service, series=series_of(points, []), marks=(mark,))

    async def points(self, service: str, since: datetime | None) -> list[Point]:
        if service != "shop":
            raise NotFound(f"There is no service {service!r}.", expected="One of: shop.")
        point = Point(
            run_id=str(ID),
            at=NOW,
            route=f"/{EVIL}",
            identity=EVIL,
            cache="hit",
            samples=9,
            errors=0,
            median_ms=1.5,
            p90_ms=2.5,
        )
        return [point]

    async def page(self, run_filter: RunFilter, *, limit: int, since: datetime, cursor: str) -> Page:
        self.page_request = run_filter, since, cursor
        states = run_filter.states or (*NOW_STATES, *ENDED)
        runs = await self.runs(job=run_filter.job, states=states, readable=run_filter.readable)
        return Page(runs, [], None if cursor else f"older {EVIL}")

    def record_run(self, run: dict[str, Any]) -> None:
        self.recorded.append(run["id"])

    async def audited(self, service: str) -> LastAudit | None:
        return self.audit

    async def outcomes_of(self, run_id: UUID) -> list[Outcome]:
        record = (await self.run(run_id))["record"]
        return [Outcome(step="record", kind="Record", body=record, at=NOW)] if record else []
