"""The application container of the admin service: Prefect, our store, the jobs, and the runs. JSON and pages share it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request

from slipway.admin.details import Detail, Details
from slipway.admin.jobs import Jobs
from slipway.admin.listing import Page, RunList
from slipway.admin.logs import Logs
from slipway.admin.prefect_api import Document, Prefect
from slipway.admin.problems import NotFound
from slipway.admin.read_model import NEWEST, ReadModel, RunFilter
from slipway.admin.single_flight import SingleFlight
from slipway.admin.streams import Streams
from slipway.admin.synchroniser import Synchroniser
from slipway.auditing.store import Audits, LastAudit
from slipway.config.service import load_services
from slipway.core.errors import SlipwayError
from slipway.core.settings import Settings
from slipway.measurement.history import Point, Trend
from slipway.measurement.history_store import History
from slipway.measurement.keep_history import SHOWN_FOR, trend_of
from slipway.runs.attempts import Attempts
from slipway.runs.disabled_jobs import DisabledJobs
from slipway.runs.shipments import Shipments
from slipway.runs.store import Outcome, Store

LOADED_WITHIN_S = 5.0
STORE_CONNECTIONS = 8  # for parallel requests; opening a connection costs more than a query
Readable = Callable[[str | None], bool]  # whether the caller may see a service


class AdminServices:
    """The objects that all requests share: Prefect, our store, the jobs, and the read model behind lists and details."""

    def __init__(self, settings: Settings, prefect_url: str, prefect_auth: str = "") -> None:
        self.settings = settings
        self.prefect = Prefect(prefect_url, prefect_auth)
        self.store = Store(settings.database_url, connections=STORE_CONNECTIONS)
        self.attempts = Attempts(self.store)
        self.history = History(self.store)
        self.shipments = Shipments(self.store)
        self.audits = Audits(self.store)
        self.jobs = Jobs(self.prefect, settings, DisabledJobs(self.store))
        self.prefect_ui = settings.prefect_ui_url or prefect_url.rstrip("/").removesuffix("/api")
        self.model = ReadModel()
        self.synchroniser = Synchroniser(self.prefect, self.model, self.jobs.names)
        self.details = Details(self.model, self.prefect, self.store)
        self.listing = RunList(self.model, self.prefect)
        self.streams = Streams(self.details)
        self.lines = Logs(self.prefect)
        self.overview: SingleFlight[Document] = SingleFlight(1.0)  # by what the caller may see; pages poll every 2 s
        self._missing: SingleFlight[list[str]] = SingleFlight(1.0)

    def start(self) -> None:
        """Start the synchroniser of the read model; safe to repeat."""
        self.synchroniser.start()

    async def close(self) -> None:
        """Stop the background tasks and close the connections."""
        await self.streams.close()
        await self.synchroniser.close()
        await self.prefect.close()
        self.store.close()

    @property
    def as_of(self) -> datetime:
        """The last time at which the read model is known to match Prefect."""
        return self.model.as_of

    @property
    def age_s(self) -> float:
        """The age of the read model, in seconds. Raises Unavailable before the first read."""
        return self.model.age_s

    async def run(self, run_id: UUID) -> Document:
        """Read one run from Prefect, before and after an action on the run. Raises NotFound, Unavailable."""
        run = await self.prefect.run(str(run_id))
        if run is None:
            raise NotFound(f"There is no run {run_id}.", expected="The id of a run from GET /runs.")
        self.record_run(run)
        return run

    def record_run(self, run: Document) -> None:
        """Store a run that Prefect has just returned in the read model, so that the caller sees an action at once."""
        self.model.rename(self.jobs.known_names() or self.model.names)
        if run.get("deployment_id") in self.model.names:
            self.model.put(run)
        self.details.expire(run["id"])

    async def names(self) -> dict[str, str]:
        """Return the job names by deployment id."""
        return {identifier: name for name, identifier in (await self.jobs.ids()).items()}

    async def runs(
        self,
        *,
        job: str | None = None,
        states: Sequence[str] = (),
        service: str | None = None,
        since: datetime | None = None,
        limit: int = 50,
        readable: Readable | None = None,
    ) -> list[Document]:
        """Return runs as a list shows them, newest first, since a time (default: 7 days ago).

        Runs of services that `readable` refuses are left out.
        """
        run_filter = RunFilter(job, tuple(states), service, readable)
        return (await self.page(run_filter, limit=limit, since=since)).runs

    async def page(self, run_filter: RunFilter, *, limit: int, since: datetime | None = None, cursor: str = "") -> Page:
        """Return a page of runs. Raises NotFound for an unknown job, InvalidInput for a bad cursor, Unavailable."""
        await self._wait_loaded()
        if run_filter.job is not None and run_filter.job not in self.model.names.values():
            await self.jobs.find(run_filter.job)
        return await self.listing.page(run_filter, limit=limit, since=since, cursor=cursor)

    async def changes(self, run_id: UUID, last_id: str | None = None) -> AsyncIterator[bytes]:
        """Return the changes of a run as server-sent events until the run has ended. Raises NotFound, Unavailable."""
        await self._wait_loaded()
        return await self.streams.open(str(run_id), last_id)

    async def logs(self, run_id: UUID, *, after: str = "", limit: int = 200) -> Document:
        """Return lines of a run's log after a cursor. Raises NotFound, InvalidInput for a bad cursor, Unavailable."""
        await self.details.run(str(run_id))
        return await self.lines.page(str(run_id), after=after, limit=limit)

    async def last_logs(self, run_id: UUID, *, limit: int = 200) -> list[Document]:
        """Return the last lines of a run's log, oldest first. Raises NotFound, Unavailable."""
        await self.details.run(str(run_id))
        return await self.lines.last(str(run_id), limit=limit)

    async def has_seen_end(self, run_id: UUID, last_id: str) -> bool:
        """Whether a run has ended and `last_id` is the id of its last change. Raises NotFound, Unavailable."""
        return bool(last_id) and (await self.full(run_id)).final and self.streams.is_last(str(run_id), last_id)

    async def missing(self) -> list[str]:
        """Return a message for each part that does not answer. Checks at most once per second."""
        return await self._missing.get(None, self._check_missing)

    async def _check_missing(self) -> list[str]:
        async def failure_of(check: Awaitable[object]) -> str:
            try:
                await check
            except SlipwayError as error:
                return error.failed
            return ""

        checks = (self.prefect.ready(), asyncio.to_thread(self.store.ping), self._wait_loaded())
        return [failure for failure in await asyncio.gather(*map(failure_of, checks)) if failure]

    async def _wait_loaded(self) -> None:
        """Wait for the first read of Prefect. Raises Unavailable if Prefect could not be read yet."""
        if self.model.complete_from == NEWEST:
            self.start()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOADED_WITHIN_S):
                    await self.synchroniser.first_read_done.wait()
            _ = self.age_s

    async def audited(self, service: str) -> LastAudit | None:
        """Return the last audit of a service, or None."""
        return await asyncio.to_thread(self.audits.last, service)

    async def outcomes_of(self, run_id: UUID) -> list[Outcome]:
        """Return the outcomes of a run's steps."""
        return await asyncio.to_thread(self.store.outcomes_of, str(run_id))

    async def trend(self, service: str, points: list[Point]) -> Trend:
        """Return the trend of these points with the service's changes, without the picture."""
        return await asyncio.to_thread(trend_of, service, points, self.shipments)

    async def points(self, service: str, since: datetime | None) -> list[Point]:
        """Return a service's points since a time (default: 30 days ago). Raises NotFound for an unknown service."""
        services = await asyncio.to_thread(load_services, self.settings.config)
        if service not in services:
            raise NotFound(f"There is no service {service!r}.", expected=f"One of: {', '.join(services)}.")
        return await asyncio.to_thread(self.history.points, service, since or datetime.now(UTC) - SHOWN_FOR)

    async def detail(self, run_id: UUID) -> Document:
        """Return everything about one run. Readers share the document: do not modify it. Raises NotFound, Unavailable."""
        return (await self.full(run_id)).doc

    async def full(self, run_id: UUID) -> Detail:
        """Return the detail of a run with its JSON. Raises NotFound, Unavailable."""
        await self._wait_loaded()
        return await self.details.get(str(run_id))


async def admin_services_of(
    request: Request,
) -> AdminServices:  # async, because FastAPI calls a sync dependency in a thread for each request
    """Return the application container of the running app."""
    container: AdminServices = request.app.state.container
    return container


ServicesDep = Annotated[AdminServices, Depends(admin_services_of)]
