"""Jobs at the door: what there is, whether a request fits, and the start of a run. The same start serves every door."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Any

from jsonschema import Draft202012Validator

from admin.access.caller import demand
from admin.prefect_api import Document, Prefect
from admin.problems import Conflict, NotFound
from slipway.adapters.access.asked import Asked
from slipway.backfill import load_backfill
from slipway.change import load_change
from slipway.errors import InvalidInput
from slipway.service import load_service
from slipway.settings import Settings

FRESH_S = 2.0
BACKFILL = "backfill"  # the job whose folder holds a backfill.toml
IN_FLIGHT = ["SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING"]


class Jobs:
    """The jobs of one Prefect server."""

    def __init__(self, prefect: Prefect, settings: Settings, asked: Asked) -> None:
        self._prefect = prefect
        self._asked_for = asked
        self._settings = settings
        self._asked: list[Document] = []
        self._asked_at: float | None = None
        self._starting = asyncio.Lock()  # so that two requests cannot both find a service free

    async def all(self) -> list[Document]:
        """Every job as the admin shows it."""
        return [describe(job) for job in await self._deployments()]

    async def ids(self) -> dict[str, str]:
        """Deployment ids by job name."""
        return {job["name"]: job["id"] for job in await self._deployments()}

    async def find(self, name: str) -> Document:
        """The deployment of a job. Raises NotFound."""
        jobs = {job["name"]: job for job in await self._deployments()}
        if name not in jobs:
            raise NotFound(f"There is no job {name!r}.", expected=f"One of: {', '.join(jobs) or 'none deployed yet'}.")
        return jobs[name]

    async def start(self, name: str, parameters: Document, key: str | None) -> Document:
        """A run of a job: a new one, or the one that the same key and parameters made before.

        Raises NotFound for an unknown job, InvalidInput for parameters that do not fit, Forbidden for who may not
        operate the service, and Conflict for a key that was used with other parameters or a service that a change is
        in flight for.
        """
        job = await self.find(name)
        check_parameters(job, parameters)
        tags = self._tags(name, parameters)
        caller = demand("operate", tags[0].removeprefix("service:") if tags else None)
        full_key = f"{name}:{key or uuid.uuid4()}"
        if "change" in parameters:
            async with self._starting:
                known = await self._prefect.runs(deployments=[job["id"]], limit=1, key=full_key) if key else []
                if not known:
                    await self._refuse_second(tags[0])
                run = known[0] if known else await self._create(job, parameters, tags, full_key)
        else:
            run = await self._create(job, parameters, tags, full_key)
        await asyncio.to_thread(self._asked_for.note, str(run["id"]), caller.person)
        if key and _explicit(run["parameters"], parameters) != parameters:
            raise Conflict(
                f"The key {key!r} was used for run {run['id']} with other parameters.",
                expected="A new Idempotency-Key for another request.",
            )
        return run

    async def _deployments(self) -> list[Document]:
        """The deployments of all jobs, asked for again once they are older than a moment."""
        now = time.monotonic()
        if self._asked_at is None or now - self._asked_at > FRESH_S:
            self._asked = await self._prefect.jobs()
            self._asked_at = now
        return self._asked

    async def _create(self, job: Document, parameters: Document, tags: list[str], key: str) -> Document:
        about = parameters.get("change") or parameters.get("service") or ""
        name = f"{job['name']} {about}".strip()  # as the flow itself will call it
        return await self._prefect.create_run(
            job["id"], name=name, parameters=parameters, tags=tags, idempotency_key=key
        )

    async def _refuse_second(self, service_tag: str) -> None:
        changing = [job["id"] for job in await self._deployments() if "change" in _properties(job)]
        found = await self._prefect.runs(deployments=changing, states=IN_FLIGHT, tags=[service_tag], limit=1)
        if found:
            run = found[0]
            raise Conflict(
                f"Run {run['id']} ({run['name']}) is in flight for {service_tag.removeprefix('service:')}.",
                expected="One change at a time per service; wait until that run has ended.",
            )

    def _tags(self, job: str, parameters: Document) -> list[str]:
        """The tags of a run; reading the change or the service for them refuses names that do not exist."""
        if "change" in parameters:
            load: Any = load_backfill if job == BACKFILL else load_change
            found, _ = load(self._settings.changes, parameters["change"])
            on_staging = bool(parameters.get("staging"))
            service = load_service(self._settings.config, found.service, on_staging=on_staging)
            return [f"service:{service.name}", f"change:{parameters['change']}"]
        if "service" in parameters:
            return [f"service:{load_service(self._settings.config, parameters['service']).name}"]
        return []


def describe(job: Document) -> Document:
    """A deployment as a job: card, parameters as JSON Schema, schedules, paused or not."""
    return {
        "name": job["name"],
        "card": job.get("description") or "",
        "parameters": job["parameter_openapi_schema"],
        "schedules": [
            {"schedule": entry["schedule"], "active": entry["active"], "parameters": entry.get("parameters") or {}}
            for entry in job.get("schedules") or []
        ],
        "paused": bool(job.get("paused")),
    }


def check_parameters(job: Document, parameters: Document) -> None:
    """Raise InvalidInput that lists every unknown, missing or ill-typed parameter; Prefect lets unknown ones pass."""
    schema = {**job["parameter_openapi_schema"], "additionalProperties": False}
    faults = [
        f"{'.'.join(str(part) for part in fault.absolute_path) or 'parameters'}: {fault.message}"
        for fault in Draft202012Validator(schema).iter_errors(parameters)
    ]
    if faults:
        raise InvalidInput(
            "; ".join(faults)[:2_000] + ".", expected=f"Parameters as GET /jobs/{job['name']} describes."
        )


def _properties(job: Document) -> Document:
    found: Document = job["parameter_openapi_schema"].get("properties", {})
    return found


def _explicit(stored: Any, asked: Document) -> Document:
    """What was asked for before, in the keys of now; Prefect stores defaults along with what was asked."""
    return {name: value for name, value in stored.items() if name in asked or value not in ([], None, False)}
