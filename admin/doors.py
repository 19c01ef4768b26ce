"""What the requests share: Prefect, our store, the jobs, and how runs are read. JSON and pages are drawn from the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request

from admin.access.services import service_of
from admin.jobs import Jobs
from admin.prefect_api import Document, Prefect
from admin.problems import NotFound
from admin.runs import detail, summary
from slipway.adapters.access.asked import Asked
from slipway.adapters.attempts import Attempts
from slipway.adapters.audits import Audits, LastAudit
from slipway.adapters.history import History
from slipway.adapters.shipments import Shipments
from slipway.adapters.store import Outcome, Store
from slipway.history import Point, Trend
from slipway.service import load_services
from slipway.settings import Settings
from slipway.steps.history import SHOWN_FOR, trend_of

WINDOW = timedelta(days=7)
Readable = Callable[[str | None], bool]  # whether who asks may see what belongs to a service


class Doors:
    """What the requests share: Prefect, our store, the jobs."""

    def __init__(self, settings: Settings, prefect_url: str) -> None:
        self.settings = settings
        self.prefect = Prefect(prefect_url)
        self.store = Store(settings.database_url)
        self.attempts = Attempts(self.store)
        self.history = History(self.store)
        self.shipments = Shipments(self.store)
        self.audits = Audits(self.store)
        self.jobs = Jobs(self.prefect, settings, Asked(self.store))
        self.prefect_ui = settings.prefect_ui_url or prefect_url.rstrip("/").removesuffix("/api")

    async def run(self, run_id: UUID) -> Document:
        """One run. Raises NotFound."""
        run = await self.prefect.run(str(run_id))
        if run is None:
            raise NotFound(f"There is no run {run_id}.", expected="The id of a run, as GET /runs lists them.")
        return run

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
        names = await self.names()
        wanted = [(await self.jobs.find(job))["id"]] if job else list(names)
        found = await self.prefect.runs(
            deployments=wanted,
            limit=limit,
            states=list(states) or None,
            tags=[f"service:{service}"] if service else None,
            since=since or datetime.now(UTC) - WINDOW,
        )
        return [summary(run, names) for run in found if readable is None or readable(service_of(run))]

    async def logs(self, run_id: UUID, *, limit: int = 200) -> list[Document]:
        """The last lines of a run's log, the oldest of them first: when, how grave, what."""
        lines = await self.prefect.logs(str(run_id), limit=limit)
        return [{"at": line["timestamp"], "level": line["level"], "message": line["message"]} for line in lines]

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
        """One run with everything that is known of it. Raises NotFound."""
        run = await self.run(run_id)
        steps, left = await asyncio.gather(self.prefect.steps(str(run_id)), self.left_by(run_id))
        return detail(run, steps, left, await self.names())


def doors_of(request: Request) -> Doors:
    """The doors of the running app."""
    found: Doors = request.app.state.doors
    return found


TheDoors = Annotated[Doors, Depends(doors_of)]
