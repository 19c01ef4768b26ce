"""The HTTP doors. Until sign-in comes the service answers on 127.0.0.1 only, and refuses other host names."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Body, FastAPI, Header, Query, Response
from fastapi.responses import JSONResponse
from starlette.middleware.trustedhost import TrustedHostMiddleware

from admin import actions, pages, problems
from admin.actions import Said
from admin.doors import Doors, TheDoors
from admin.jobs import describe
from admin.prefect_api import Document
from admin.problems import Conflict
from admin.runs import summary
from slipway.errors import SlipwayError
from slipway.noun import ServiceName
from slipway.settings import Settings

NOTICE = "Without sign-in: this service answers on 127.0.0.1 only. Do not put it behind a public address."
StateType = Annotated[str, Query(pattern=r"^[A-Z]+$")]


def create_app() -> FastAPI:
    """The service, with its settings from the environment; it connects when the first request needs it."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.doors = Doors(Settings.from_environment(), os.environ["PREFECT_API_URL"])
        yield
        await app.state.doors.prefect.close()
        app.state.doors.store.close()

    app = FastAPI(title="Slipway", description=NOTICE, lifespan=lifespan)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
    problems.install(app, pages.problem_page)
    _add_health(app)
    _add_jobs(app)
    _add_runs(app)
    _add_services(app)
    _add_actions(app)
    _add_pausing(app)
    pages.install(app)
    return app


def _add_health(app: FastAPI) -> None:
    @app.get("/health")
    async def health() -> dict[str, bool]:
        """The process lives; asks nobody."""
        return {"ok": True}

    @app.get("/ready")
    async def ready(doors: TheDoors) -> Response:
        """Whether Prefect and the store answer; 503 names what does not."""
        missing = [told for told in (await _missing(doors)) if told]
        body = {"ready": not missing, "missing": missing, "notice": NOTICE}
        return JSONResponse(body, status_code=503 if missing else 200)


async def _missing(doors: Doors) -> list[str]:
    async def told(check: Any) -> str:
        try:
            await check
        except SlipwayError as error:
            return error.failed
        return ""

    return list(await asyncio.gather(told(doors.prefect.ready()), told(asyncio.to_thread(doors.store.ping))))


def _add_jobs(app: FastAPI) -> None:
    @app.get("/jobs")
    async def jobs(doors: TheDoors) -> list[dict[str, Any]]:
        """Every job: card, parameters, schedules."""
        return await doors.jobs.all()

    @app.get("/jobs/{job}")
    async def one_job(job: str, doors: TheDoors) -> dict[str, Any]:
        """One job."""
        return describe(await doors.jobs.find(job))

    @app.post("/jobs/{job}/runs", status_code=202)
    async def start_run(
        job: str,
        parameters: Annotated[dict[str, Any], Body()],
        doors: TheDoors,
        response: Response,
        idempotency_key: Annotated[str | None, Header(max_length=200, pattern=r"^[\x21-\x7e]+$")] = None,
    ) -> dict[str, Any]:
        """Start a run; the same Idempotency-Key with the same parameters answers with the same run."""
        return await _started(doors, job, parameters, idempotency_key, response)


async def _started(doors: Doors, job: str, parameters: Document, key: str | None, response: Response) -> Document:
    run = await doors.jobs.start(job, parameters, key)
    response.headers["Location"] = f"/runs/{run['id']}"
    return summary(run, await doors.names())


def _add_runs(app: FastAPI) -> None:
    @app.get("/runs")
    async def runs(
        doors: TheDoors,
        job: str | None = None,
        state: StateType | None = None,
        service: Annotated[ServiceName | None, Query()] = None,
        since: datetime | None = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> list[dict[str, Any]]:
        """Runs, the newest first; the last seven days unless `since` says otherwise."""
        return await doors.runs(job=job, states=[state] if state else [], service=service, since=since, limit=limit)

    @app.get("/runs/{run_id}")
    async def one_run(run_id: UUID, doors: TheDoors) -> dict[str, Any]:
        """One run: its steps, findings, measurements, verdict, decision and record."""
        return await doors.detail(run_id)


def _add_services(app: FastAPI) -> None:
    @app.get("/services/{service}/history")
    async def history(service: ServiceName, doors: TheDoors, since: datetime | None = None) -> dict[str, Any]:
        """What measure-service has seen: every series with its baseline, the changes, and the points (30 days by default)."""
        if since is not None and since.tzinfo is None:
            since = since.replace(tzinfo=UTC)
        recent = await doors.points(service, None)
        trend = await doors.trend(service, recent)
        points = recent if since is None else await doors.points(service, since)
        return {
            **trend.model_dump(mode="json", exclude={"picture_svg"}),
            "points": [point.model_dump(mode="json") for point in points],
        }


def _add_actions(app: FastAPI) -> None:
    @app.post("/runs/{run_id}/rollback", status_code=202)
    async def roll_back(run_id: UUID, doors: TheDoors, response: Response) -> dict[str, Any]:
        """Roll back the change that a run shipped: starts roll-back-change, as every other door does."""
        shipped = (await doors.run(run_id))["parameters"]
        if not shipped.get("change"):
            raise Conflict(f"Run {run_id} shipped no change.", expected="A run of ship-change.")
        where = {"change": shipped["change"], "staging": bool(shipped.get("staging"))}
        return await _started(doors, "roll-back-change", where, None, response)

    @app.post("/runs/{run_id}/cancel", status_code=202)
    async def cancel(run_id: UUID, said: Said, doors: TheDoors) -> dict[str, Any]:
        """Cancel a run: before the migration it stops, after it it goes all the way back."""
        await actions.cancel(doors.prefect, doors.attempts, await doors.run(run_id), said)
        return summary(await doors.run(run_id), await doors.names())

    @app.post("/runs/{run_id}/approve", status_code=202)
    async def approve(run_id: UUID, said: Said, doors: TheDoors) -> dict[str, Any]:
        """Say yes to a change that waits for approval after its rehearsal."""
        await actions.answer(doors.prefect, await doors.run(run_id), said, approved=True)
        return summary(await doors.run(run_id), await doors.names())

    @app.post("/runs/{run_id}/reject", status_code=202)
    async def reject(run_id: UUID, said: Said, doors: TheDoors) -> dict[str, Any]:
        """Say no to a change that waits for approval; nothing is changed."""
        await actions.answer(doors.prefect, await doors.run(run_id), said, approved=False)
        return summary(await doors.run(run_id), await doors.names())


def _add_pausing(app: FastAPI) -> None:
    @app.post("/runs/{run_id}/pause", status_code=202)
    async def pause(run_id: UUID, said: Said, doors: TheDoors) -> dict[str, Any]:
        """Pause a backfill; what is done stays done, and its service stays held."""
        shown = summary(await doors.run(run_id), await doors.names())
        await actions.pause(doors.attempts, shown, shown["job"], said)
        return shown

    @app.post("/runs/{run_id}/resume", status_code=202)
    async def resume(run_id: UUID, said: Said, doors: TheDoors) -> dict[str, Any]:
        """Let a paused backfill go on."""
        run = await doors.run(run_id)
        await actions.resume(doors.attempts, run)
        return summary(run, await doors.names())
