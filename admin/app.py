"""The HTTP doors, and the guard before them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext

from fastapi import FastAPI

from admin import answers, pages, problems
from admin.access import entry, people
from admin.access.access import Access
from admin.access.guard import Guard
from admin.doors import Doors
from admin.limits import BodyLimit, Rate
from admin.quickness import answering_quickly
from admin.routes import acting, health, jobs, runs, services
from slipway.settings import Settings

ABOUT = "Triggers jobs and reads their state. Every request needs a sign-in or a token, except /health and /ready."


def create_app(*, own_process: bool = True) -> FastAPI:
    """The service, with its settings from the environment; it connects when the first request needs it.

    In a process that is not its own it leaves the interpreter's settings alone.
    """
    settings = Settings.from_environment()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        auth = os.environ.get("PREFECT_API_AUTH_STRING", "")
        app.state.doors = Doors(settings, os.environ["PREFECT_API_URL"], auth)
        app.state.access = Access(app.state.doors.store, settings)
        app.state.doors.start()
        with answering_quickly() if own_process else nullcontext():
            yield
        await app.state.access.written()
        await app.state.doors.close()

    app = FastAPI(title="Slipway", description=ABOUT, lifespan=lifespan, responses=answers.EVERYWHERE)
    app.state.rate = Rate(settings.triggers_per_minute)
    app.add_middleware(BodyLimit)
    problems.install(app, pages.problem_page)
    for routes in (health, jobs, runs, services, acting):
        app.include_router(routes.router)
    pages.install(app)
    for more in (entry, people):
        app.include_router(more.router)
    app.openapi = answers.with_sign_in(app.openapi)  # type: ignore[method-assign]
    app.add_middleware(Guard, hosts=settings.hosts.split(","))  # the last one added stands before all others
    return app
