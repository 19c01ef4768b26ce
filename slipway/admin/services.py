"""What the requests share: Prefect, our store, the jobs, and how runs are read. JSON and pages are drawn from the same."""

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
STORE_CONNECTIONS = 8  # requests side by side; one that is made for a single question costs more than the question
Readable = Callable[[str | None], bool]  # whether who asks may see what belongs to a service


class AdminServices:
    """What the requests share: Prefect, our store, the jobs, and the read model that lists and details come from."""

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
        self.overview: SingleFlight[Document] = SingleFlight(
            1.0
        )  # by what who asks may see; many look at it, every other second
        self._missing: SingleFlight[list[str]] = SingleFlight(1.0)

    def start(self) -> None:
        """Begin to keep the read model in step; safe to repeat."""
        self.synchroniser.start()

    async def close(self) -> None:
        """End what runs in the background, and close the connections."""
        await self.streams.close()
        await self.synchroniser.close()
        await self.prefect.close()
        self.store.close()

    @property
    def as_of(self) -> datetime:
        """The time as of which the read model is known to be as Prefect."""
        return self.model.as_of

    @property
    def age_s(self) -> float:
        """How old that is, in seconds. Raises Unavailable while nothing is known yet."""
        return self.model.age_s

    async def run(self, run_id: UUID) -> Document:
        """One run as Prefect has it now; who acts on a run reads it here before and after. Raises NotFound, Unavailable."""
        run = await self.prefect.run(str(run_id))
        if run is None:
            raise NotFound(f"There is no run {run_id}.", expected="The id of a run, as GET /runs lists them.")
        self.saw(run)
        return run

    def saw(self, run: Document) -> None:
        """Take what Prefect has just answered into the read model: who has acted sees it at once."""
        self.model.rename(self.jobs.known_names() or self.model.names)
        if run.get("deployment_id") in self.model.names:
            self.model.put(run)
        self.details.expire(run["id"])

    async def names(self) -> dict[str, str]:
        """The jobs' names by the ids of their deployments."""
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
        """Runs as a list shows them, the newest first; the last seven days unless `since` says otherwise.

        Those of services that `readable` refuses are left out.
        """
        wanted = RunFilter(job, tuple(states), service, readable)
        return (await self.page(wanted, limit=limit, since=since)).runs

    async def page(self, wanted: RunFilter, *, limit: int, since: datetime | None = None, cursor: str = "") -> Page:
        """A page of runs. Raises NotFound for an unknown job, InvalidInput for a cursor, Unavailable."""
        await self._loaded()
        if wanted.job is not None and wanted.job not in self.model.names.values():
            await self.jobs.find(wanted.job)
        return await self.listing.page(wanted, limit=limit, since=since, cursor=cursor)

    async def changes(self, run_id: UUID, last_id: str | None = None) -> AsyncIterator[bytes]:
        """What happens to a run, as server-sent events, until it is over. Raises NotFound, Unavailable."""
        await self._loaded()
        return await self.streams.open(str(run_id), last_id)

    async def logs(self, run_id: UUID, *, after: str = "", limit: int = 200) -> Document:
        """Lines of a run's log behind a cursor. Raises NotFound, InvalidInput for a cursor, Unavailable."""
        await self.details.run(str(run_id))
        return await self.lines.of(str(run_id), after=after, limit=limit)

    async def last_logs(self, run_id: UUID, *, limit: int = 200) -> list[Document]:
        """The last lines of a run's log, the oldest of them first. Raises NotFound, Unavailable."""
        await self.details.run(str(run_id))
        return await self.lines.last(str(run_id), limit=limit)

    async def seen_its_end(self, run_id: UUID, last_id: str) -> bool:
        """Whether a run is over, and this is the id of the last change of it. Raises NotFound, Unavailable."""
        return bool(last_id) and (await self.full(run_id)).final and self.streams.is_last(str(run_id), last_id)

    async def missing(self) -> list[str]:
        """What does not answer, in words; asked once a second at most."""
        return await self._missing.get(None, self._find_missing)

    async def _find_missing(self) -> list[str]:
        async def told(check: Awaitable[object]) -> str:
            try:
                await check
            except SlipwayError as error:
                return error.failed
            return ""

        checks = (self.prefect.ready(), asyncio.to_thread(self.store.ping), self._loaded())
        return [words for words in await asyncio.gather(*map(told, checks)) if words]

    async def _loaded(self) -> None:
        """Return once there is something to answer from. Raises Unavailable when Prefect could not be read yet."""
        if self.model.whole_from == NEWEST:
            self.start()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOADED_WITHIN_S):
                    await self.synchroniser.tried.wait()
            _ = self.age_s

    async def audited(self, service: str) -> LastAudit | None:
        """The last audit of a service, or None."""
        return await asyncio.to_thread(self.audits.last, service)

    async def left_by(self, run_id: UUID) -> list[Outcome]:
        """What the steps of a run left behind."""
        return await asyncio.to_thread(self.store.outcomes_of, str(run_id))

    async def trend(self, service: str, points: list[Point]) -> Trend:
        """What these points of a service say, beside its changes; without a picture."""
        return await asyncio.to_thread(trend_of, service, points, self.shipments)

    async def points(self, service: str, since: datetime | None) -> list[Point]:
        """The points of a service's history since a time, 30 days by default. Raises NotFound for an unknown service."""
        known = await asyncio.to_thread(load_services, self.settings.config)
        if service not in known:
            raise NotFound(f"There is no service {service!r}.", expected=f"One of: {', '.join(known)}.")
        return await asyncio.to_thread(self.history.of, service, since or datetime.now(UTC) - SHOWN_FOR)

    async def detail(self, run_id: UUID) -> Document:
        """One run with everything that is known of it; read only, as others see it, too. Raises NotFound, Unavailable."""
        return (await self.full(run_id)).doc

    async def full(self, run_id: UUID) -> Detail:
        """The same with its JSON. Raises NotFound, Unavailable."""
        await self._loaded()
        return await self.details.of(str(run_id))


async def admin_services_of(
    request: Request,
) -> AdminServices:  # not async, it would be called in a thread, for each request
    """The doors of the running app."""
    found: AdminServices = request.app.state.container
    return found


ServicesDep = Annotated[AdminServices, Depends(admin_services_of)]
