"""Jobs: list them, check the parameters of a request, and start a run. Every entry point uses the same start."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from functools import partial
from typing import Any

from jsonschema import Draft202012Validator

from slipway.admin.auth.caller import CALLER, require_right
from slipway.admin.prefect_api import Document, Prefect
from slipway.admin.problems import Conflict, NotFound
from slipway.admin.single_flight import SingleFlight
from slipway.config.backfill import load_backfill
from slipway.config.change import load_change
from slipway.config.service import load_service
from slipway.core.errors import InvalidInput, Unavailable
from slipway.core.settings import Settings
from slipway.runs.disabled_jobs import Disabled, DisabledJobs

FRESH_S, SERVED_S = 2.0, 60.0  # between the two ages, cached deployments are served while Prefect is read
UNANSWERED_FOR_S = 600.0
TEMPLATE_KEY = "__prefect_kind"  # Prefect replaces a value with this key, after all our checks
BACKFILL = "backfill"  # the job whose folder holds a backfill.toml
IN_FLIGHT = ["SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING"]


class Jobs:
    """The jobs of one Prefect server."""

    def __init__(self, prefect: Prefect, settings: Settings, switches: DisabledJobs) -> None:
        self._prefect = prefect
        self._settings = settings
        self._switches = switches
        self._cached: list[Document] | None = None
        self._cached_at = 0.0
        self._reads = self._cached_number = 0
        self._reading: SingleFlight[list[Document]] = SingleFlight(0.0, 0)
        self._disabled: SingleFlight[dict[str, Disabled]] = SingleFlight(1.0)
        self._last_disabled: dict[str, Disabled] = {}
        self._unanswered: dict[str, tuple[float, str]] = {}
        self._refreshes: set[asyncio.Task[list[Document]]] = set()
        self._starting = asyncio.Lock()  # otherwise two requests could both find no change in flight

    async def all(self) -> list[Document]:
        """Return every job as the admin shows it."""
        disabled = await self._read_disabled()
        return [describe(job, disabled.get(job["name"])) for job in await self._deployments()]

    async def one(self, name: str) -> Document:
        """Return one job as the admin shows it. Raises NotFound."""
        return describe(await self.find(name), (await self._read_disabled()).get(name))

    async def ids(self) -> dict[str, str]:
        """Return the deployment ids by job name."""
        return {job["name"]: job["id"] for job in await self._deployments()}

    async def names(self) -> dict[str, str]:
        """Read the job names by deployment id from Prefect."""
        return {job["id"]: job["name"] for job in await self._read()}

    def known_names(self) -> dict[str, str]:
        """Return the job names by deployment id that were read last."""
        return {job["id"]: job["name"] for job in self._cached or []}

    async def find(self, name: str) -> Document:
        """Return the deployment of a job. Raises NotFound."""
        jobs = {job["name"]: job for job in await self._deployments()}
        if name not in jobs:  # the job may have just been deployed
            jobs = {job["name"]: job for job in await self._read()}
        if name not in jobs:
            raise NotFound(f"There is no job {name!r}.", expected=f"One of: {', '.join(jobs) or 'none deployed yet'}.")
        return jobs[name]

    async def switch(self, name: str, *, paused: bool | None, disabled: bool | None, by: str, why: str) -> Document:
        """Switch a job's schedules, or the whole job, off or on; None leaves a switch alone. Raises NotFound, Unavailable."""
        job = await self.find(name)
        if disabled is not None:
            change = (
                partial(self._switches.disable, name, by, why) if disabled else partial(self._switches.enable, name)
            )
            await asyncio.to_thread(change)
            self._disabled.forget(None)
        if paused is not None:  # whatever is cached: another user may have switched the schedules in Prefect
            await self._prefect.switch_schedules(job["id"], on=not paused)
            self._reading.forget(None)
            await self._read()
        return await self.one(name)

    async def start(self, name: str, parameters: Document, key: str | None) -> Document:
        """Start a run of a job, or return the run that was started with the same key and parameters.

        Raises NotFound for an unknown job, InvalidInput for invalid parameters, Forbidden if the caller may not operate
        the service, and Conflict for a key that was used with other parameters, for a service that has a change in
        flight, and for a disabled job.
        """
        job = await self.find(name)
        check_parameters(job, parameters)
        await self._check_enabled(name)
        tags = self._tags(name, parameters)
        caller = require_right("operate", tags[0].removeprefix("service:") if tags else None)
        request = json.dumps([name, parameters], sort_keys=True)
        full_key = f"{name}:{key or self._key_of_unanswered(request)}"
        create = partial(self._create, job, parameters, tags, full_key, request, caller.person)
        if "change" in parameters:
            async with self._starting:
                earlier = await self._prefect.runs(limit=1, key=full_key) if key else []
                if not earlier:
                    await self._check_no_other_change(tags[0], full_key)
                run = earlier[0] if earlier else await create()
        else:
            run = await create()
        if key and _explicit(run["parameters"], parameters) != parameters:
            raise Conflict(
                f"The key {key!r} was used for run {run['id']} with other parameters.",
                expected="A new Idempotency-Key for each different request.",
            )
        return run

    async def _deployments(self) -> list[Document]:
        """Return the deployments of all jobs. A cached list older than FRESH_S is refreshed in the background."""
        age = time.monotonic() - self._cached_at
        if self._cached is None or age > SERVED_S:
            try:
                return await self._read()
            except Unavailable:
                if self._cached is None:
                    raise
        elif age > FRESH_S and not self._refreshes:
            task = asyncio.ensure_future(self._read())
            self._refreshes.add(task)
            task.add_done_callback(self._refresh_done)
        return self._cached

    def _refresh_done(self, task: asyncio.Task[list[Document]]) -> None:
        self._refreshes.discard(task)
        if not task.cancelled():
            task.exception()  # mark the error as retrieved; the cached list stays valid

    async def _read(self) -> list[Document]:
        return await self._reading.get(None, self._read_prefect)

    async def _read_prefect(self) -> list[Document]:
        """Read the deployments from Prefect. If two reads overlap, the one that started later is cached."""
        self._reads += 1
        number = self._reads
        deployments = await self._prefect.jobs()
        if number > self._cached_number:
            self._cached, self._cached_number, self._cached_at = deployments, number, time.monotonic()
        return deployments

    async def _read_disabled(self) -> dict[str, Disabled]:
        """Return the disabled jobs to show; the last known ones if the store is unreachable."""
        try:
            self._last_disabled = await self._disabled.get(None, self._query_disabled)
        except Unavailable:
            return self._last_disabled
        return self._last_disabled

    async def _query_disabled(self) -> dict[str, Disabled]:
        return await asyncio.to_thread(self._switches.disabled)

    async def _check_enabled(self, name: str) -> None:
        """Raise Conflict for a disabled job. A switch in another process takes effect within 1 s, in this one at once."""
        switch = (await self._disabled.get(None, self._query_disabled)).get(name)
        if switch is not None:
            raise Conflict(
                f"The job {name} has been disabled since {switch.since:%Y-%m-%d %H:%M} UTC by {switch.by}: {switch.why}",
                expected="The job is enabled. An administrator can enable it again.",
            )

    def _key_of_unanswered(self, request: str) -> str:
        """Return a key for a request without one. A request that Prefect did not answer gets the same key again."""
        now = time.monotonic()
        self._unanswered = {
            earlier: entry for earlier, entry in self._unanswered.items() if now - entry[0] < UNANSWERED_FOR_S
        }
        return self._unanswered[request][1] if request in self._unanswered else str(uuid.uuid4())

    async def _create(
        self, job: Document, parameters: Document, tags: list[str], key: str, request: str, asked_by: str
    ) -> Document:
        subject = parameters.get("change") or parameters.get("service") or ""
        name = f"{job['name']} {subject}".strip()  # the flow uses the same name
        try:
            run = await self._prefect.create_run(
                job["id"], name=name, parameters=parameters, tags=tags, idempotency_key=key, asked_by=asked_by
            )
        except Unavailable:
            self._unanswered[request] = time.monotonic(), key.partition(":")[2]
            raise
        self._unanswered.pop(request, None)
        return run

    async def _check_no_other_change(self, service_tag: str, key: str) -> None:
        """Raise Conflict if another change of the service is in flight. A run with the same key does not count."""
        changing = {job["id"] for job in await self._deployments() if "change" in _properties(job)}
        in_flight = await self._prefect.runs(states=IN_FLIGHT, tags=[service_tag])
        others = [run for run in in_flight if run.get("idempotency_key") != key]
        conflicting = [run for run in others if run.get("deployment_id") in changing]
        if conflicting:
            run = conflicting[0]
            raise Conflict(
                f"Run {run['id']} ({run['name']}) is in flight for {service_tag.removeprefix('service:')}.",
                expected="Only one change per service is in flight. Wait until that run has ended.",
            )

    def _tags(self, job: str, parameters: Document) -> list[str]:
        """Return the tags of a run. Loading the change or the service raises InvalidInput for an unknown name."""
        if "change" in parameters:
            load: Any = load_backfill if job == BACKFILL else load_change
            change, _ = load(self._settings.changes, parameters["change"])
            on_staging = bool(parameters.get("staging"))
            service = load_service(self._settings.config, change.service, on_staging=on_staging)
            return [f"service:{service.name}", f"change:{parameters['change']}"]
        if "service" in parameters:
            return [f"service:{load_service(self._settings.config, parameters['service']).name}"]
        return []


def describe(job: Document, disabled: Disabled | None = None) -> Document:
    """Return a deployment as a job: card, JSON Schema of the parameters, schedules, `paused`, and `disabled` or null.

    Schedules of services that the caller may not read are left out, like the runs of these services.
    """
    caller = CALLER.get()
    return {
        "name": job["name"],
        "card": job.get("description") or "",
        "parameters": job["parameter_openapi_schema"],
        "schedules": [
            {"schedule": entry["schedule"], "active": entry["active"], "parameters": entry.get("parameters") or {}}
            for entry in job.get("schedules") or []
            if caller is None or caller.readable((entry.get("parameters") or {}).get("service"))
        ],
        "paused": bool(job.get("paused")),
        "disabled": disabled and disabled.model_dump(mode="json", exclude={"job"}),
    }


def check_parameters(job: Document, parameters: Document) -> None:
    """Raise InvalidInput with every unknown, missing or ill-typed parameter. Prefect itself accepts unknown parameters."""
    schema = {**job["parameter_openapi_schema"], "additionalProperties": False}
    faults = [
        f"{'.'.join(str(part) for part in fault.absolute_path) or 'parameters'}: {fault.message}"
        for fault in Draft202012Validator(schema).iter_errors(parameters)
    ]
    faults += [f"{name}: {TEMPLATE_KEY!r} is not allowed" for name, value in parameters.items() if _is_template(value)]
    if faults:
        raise InvalidInput(
            "; ".join(faults)[:2_000] + ".", expected=f"Parameters that match the schema in GET /jobs/{job['name']}."
        )


def _is_template(value: Any) -> bool:
    """Whether Prefect would replace a part of a parameter with a variable or a rendered template."""
    pending = [value]
    while pending:
        part = pending.pop()
        if isinstance(part, dict):
            if TEMPLATE_KEY in part:
                return True
            pending += part.values()
        elif isinstance(part, list):
            pending += part
    return False


def _properties(job: Document) -> Document:
    properties: Document = job["parameter_openapi_schema"].get("properties", {})
    return properties


def _explicit(stored: Any, requested: Document) -> Document:
    """Return the stored parameters without defaults that were not requested: Prefect stores defaults, too."""
    return {name: value for name, value in stored.items() if name in requested or value not in ([], None, False)}
