"""Jobs at the door: what there is, whether a request fits, and the start of a run. The same start serves every door."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from functools import partial
from typing import Any

from jsonschema import Draft202012Validator

from slipway.admin.auth.caller import CALLER, demand
from slipway.admin.prefect_api import Document, Prefect
from slipway.admin.problems import Conflict, NotFound
from slipway.admin.single_flight import SingleFlight
from slipway.config.backfill import load_backfill
from slipway.config.change import load_change
from slipway.config.service import load_service
from slipway.core.errors import InvalidInput, Unavailable
from slipway.core.settings import Settings
from slipway.runs.disabled_jobs import Disabled, DisabledJobs

FRESH_S, SERVED_S = 2.0, 60.0  # older answers are served while a newer one is on its way, as old as this
UNANSWERED_FOR_S = 600.0
FILLED_IN = "__prefect_kind"  # Prefect fills in what stands beside it, behind every check
BACKFILL = "backfill"  # the job whose folder holds a backfill.toml
IN_FLIGHT = ["SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING"]


class Jobs:
    """The jobs of one Prefect server."""

    def __init__(self, prefect: Prefect, settings: Settings, switches: DisabledJobs) -> None:
        self._prefect = prefect
        self._settings = settings
        self._switches = switches
        self._asked: list[Document] | None = None
        self._asked_at = 0.0
        self._asks = self._asked_number = 0
        self._asking: SingleFlight[list[Document]] = SingleFlight(0.0, 0)
        self._disabled: SingleFlight[dict[str, Disabled]] = SingleFlight(1.0)
        self._known_disabled: dict[str, Disabled] = {}
        self._unanswered: dict[str, tuple[float, str]] = {}
        self._later: set[asyncio.Task[list[Document]]] = set()
        self._starting = asyncio.Lock()  # so that two requests cannot both find a service free

    async def all(self) -> list[Document]:
        """Every job as the admin shows it."""
        disabled = await self._read_disabled()
        return [describe(job, disabled.get(job["name"])) for job in await self._deployments()]

    async def one(self, name: str) -> Document:
        """One job as the admin shows it. Raises NotFound."""
        return describe(await self.find(name), (await self._read_disabled()).get(name))

    async def ids(self) -> dict[str, str]:
        """Deployment ids by job name."""
        return {job["name"]: job["id"] for job in await self._deployments()}

    async def names(self) -> dict[str, str]:
        """Job names by deployment id, as Prefect has them now."""
        return {job["id"]: job["name"] for job in await self._read()}

    def known_names(self) -> dict[str, str]:
        """Job names by deployment id, as far as they have been read."""
        return {job["id"]: job["name"] for job in self._asked or []}

    async def find(self, name: str) -> Document:
        """The deployment of a job. Raises NotFound."""
        jobs = {job["name"]: job for job in await self._deployments()}
        if name not in jobs:  # one that has just been deployed
            jobs = {job["name"]: job for job in await self._read()}
        if name not in jobs:
            raise NotFound(f"There is no job {name!r}.", expected=f"One of: {', '.join(jobs) or 'none deployed yet'}.")
        return jobs[name]

    async def switch(self, name: str, *, paused: bool | None, disabled: bool | None, by: str, why: str) -> Document:
        """Switch a job's schedules off or on, and the whole job; what is None stays. Raises NotFound, Unavailable."""
        job = await self.find(name)
        if disabled is not None:
            act = partial(self._switches.disable, name, by, why) if disabled else partial(self._switches.enable, name)
            await asyncio.to_thread(act)
            self._disabled.forget(None)
        if paused is not None:  # whatever we remember of the job: somebody may have switched it in Prefect
            await self._prefect.switch_schedules(job["id"], on=not paused)
            self._asking.forget(None)
            await self._read()
        return await self.one(name)

    async def start(self, name: str, parameters: Document, key: str | None) -> Document:
        """A run of a job: a new one, or the one that the same key and parameters made before.

        Raises NotFound for an unknown job, InvalidInput for parameters that do not fit, Forbidden for who may not
        operate the service, and Conflict for a key that was used with other parameters, a service that a change is in
        flight for, or a job that is disabled.
        """
        job = await self.find(name)
        check_parameters(job, parameters)
        await self._refuse_disabled(name)
        tags = self._tags(name, parameters)
        caller = demand("operate", tags[0].removeprefix("service:") if tags else None)
        asked = json.dumps([name, parameters], sort_keys=True)
        full_key = f"{name}:{key or self._key_of_unanswered(asked)}"
        create = partial(self._create, job, parameters, tags, full_key, asked, caller.person)
        if "change" in parameters:
            async with self._starting:
                known = await self._prefect.runs(limit=1, key=full_key) if key else []
                if not known:
                    await self._refuse_second(tags[0], full_key)
                run = known[0] if known else await create()
        else:
            run = await create()
        if key and _explicit(run["parameters"], parameters) != parameters:
            raise Conflict(
                f"The key {key!r} was used for run {run['id']} with other parameters.",
                expected="A new Idempotency-Key for another request.",
            )
        return run

    async def _deployments(self) -> list[Document]:
        """The deployments of all jobs; an answer that is older than a moment is renewed behind the reader's back."""
        age = time.monotonic() - self._asked_at
        if self._asked is None or age > SERVED_S:
            try:
                return await self._read()
            except Unavailable:
                if self._asked is None:
                    raise
        elif age > FRESH_S and not self._later:
            task = asyncio.ensure_future(self._read())
            self._later.add(task)
            task.add_done_callback(self._renewed)
        return self._asked

    def _renewed(self, task: asyncio.Task[list[Document]]) -> None:
        self._later.discard(task)
        if not task.cancelled():
            task.exception()  # the last answer stays good

    async def _read(self) -> list[Document]:
        return await self._asking.get(None, self._ask)

    async def _ask(self) -> list[Document]:
        """Ask Prefect; of two answers the one that was asked for later stays."""
        self._asks += 1
        number = self._asks
        found = await self._prefect.jobs()
        if number > self._asked_number:
            self._asked, self._asked_number, self._asked_at = found, number, time.monotonic()
        return found

    async def _read_disabled(self) -> dict[str, Disabled]:
        """The disabled jobs as a reader is shown them: with the store away, those that were known."""
        try:
            self._known_disabled = await self._disabled.get(None, self._ask_disabled)
        except Unavailable:
            return self._known_disabled
        return self._known_disabled

    async def _ask_disabled(self) -> dict[str, Disabled]:
        return await asyncio.to_thread(self._switches.disabled)

    async def _refuse_disabled(self, name: str) -> None:
        """What another process switched is heard of within a second, as lists hear of it; what this one did, at once."""
        found = (await self._disabled.get(None, self._ask_disabled)).get(name)
        if found is not None:
            raise Conflict(
                f"The job {name} is disabled since {found.since:%Y-%m-%d %H:%M} UTC by {found.by}: {found.why}",
                expected="A job that is enabled; an administrator enables it again.",
            )

    def _key_of_unanswered(self, asked: str) -> str:
        """A key of our own for who sends none: the same again for a request that Prefect left unanswered."""
        now = time.monotonic()
        self._unanswered = {name: kept for name, kept in self._unanswered.items() if now - kept[0] < UNANSWERED_FOR_S}
        return self._unanswered[asked][1] if asked in self._unanswered else str(uuid.uuid4())

    async def _create(
        self, job: Document, parameters: Document, tags: list[str], key: str, asked: str, asked_by: str
    ) -> Document:
        about = parameters.get("change") or parameters.get("service") or ""
        name = f"{job['name']} {about}".strip()  # as the flow itself will call it
        try:
            run = await self._prefect.create_run(
                job["id"], name=name, parameters=parameters, tags=tags, idempotency_key=key, asked_by=asked_by
            )
        except Unavailable:
            self._unanswered[asked] = time.monotonic(), key.partition(":")[2]
            raise
        self._unanswered.pop(asked, None)
        return run

    async def _refuse_second(self, service_tag: str, key: str) -> None:
        """Refuse a change of a service that another one is in flight for; the run of the same key is no other one."""
        changing = {job["id"] for job in await self._deployments() if "change" in _properties(job)}
        in_flight = await self._prefect.runs(states=IN_FLIGHT, tags=[service_tag])
        others = [run for run in in_flight if run.get("idempotency_key") != key]
        found = [run for run in others if run.get("deployment_id") in changing]
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


def describe(job: Document, disabled: Disabled | None = None) -> Document:
    """A deployment as a job: card, parameters as JSON Schema, schedules, paused or not, disabled by whom or null.

    Schedules for services that who asks may not read are left out, as their runs are.
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
    """Raise InvalidInput that lists every unknown, missing or ill-typed parameter; Prefect lets unknown ones pass."""
    schema = {**job["parameter_openapi_schema"], "additionalProperties": False}
    faults = [
        f"{'.'.join(str(part) for part in fault.absolute_path) or 'parameters'}: {fault.message}"
        for fault in Draft202012Validator(schema).iter_errors(parameters)
    ]
    faults += [f"{name}: {FILLED_IN!r} is refused" for name, value in parameters.items() if _is_filled_in(value)]
    if faults:
        raise InvalidInput(
            "; ".join(faults)[:2_000] + ".", expected=f"Parameters as GET /jobs/{job['name']} describes."
        )


def _is_filled_in(value: Any) -> bool:
    """Whether Prefect would replace something in a parameter, by one of its variables or by a template."""
    left = [value]
    while left:
        found = left.pop()
        if isinstance(found, dict):
            if FILLED_IN in found:
                return True
            left += found.values()
        elif isinstance(found, list):
            left += found
    return False


def _properties(job: Document) -> Document:
    found: Document = job["parameter_openapi_schema"].get("properties", {})
    return found


def _explicit(stored: Any, asked: Document) -> Document:
    """What was asked for before, in the keys of now; Prefect stores defaults along with what was asked."""
    return {name: value for name, value in stored.items() if name in asked or value not in ([], None, False)}
