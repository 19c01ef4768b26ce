"""The FastAPI application: all routes, with the guard in front."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext

from fastapi import FastAPI

from slipway.admin import pages, problems, schemas
from slipway.admin.api import actions, health, jobs, runs, services
from slipway.admin.auth import people, sign_in_pages
from slipway.admin.auth.guard import Guard
from slipway.admin.auth.lookup import Access
from slipway.admin.interpreter import fast_thread_switching
from slipway.admin.limits import BodyLimit, Rate
from slipway.admin.services import AdminServices
from slipway.core.settings import Settings

ABOUT = "Triggers jobs and reads their state. Every request needs a sign-in or a token, except /health and /ready."


def create_app(*, own_process: bool = True) -> FastAPI:
    """Return the app, with settings from the environment. The app connects when the first request needs a connection.

    Unless `own_process`, the app does not change interpreter settings.
    """
    settings = Settings.from_environment()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        auth = os.environ.get("PREFECT_API_AUTH_STRING", "")
        app.state.container = AdminServices(settings, os.environ["PREFECT_API_URL"], auth)
        app.state.access = Access(app.state.container.store, settings)
        app.state.container.start()
        with fast_thread_switching() if own_process else nullcontext():
            yield
        await app.state.access.wait_written()
        await app.state.container.close()

    app = FastAPI(title="Slipway", description=ABOUT, lifespan=lifespan, responses=schemas.EVERYWHERE)
    app.state.rate = Rate(settings.triggers_per_minute)
    app.add_middleware(BodyLimit)
    problems.install(app, pages.problem_page)
    for module in (health, jobs, runs, services, actions):
        app.include_router(module.router)
    pages.install(app)
    for module in (sign_in_pages, people):
        app.include_router(module.router)
    app.openapi = schemas.with_sign_in(app.openapi)  # type: ignore[method-assign]
    app.add_middleware(Guard, hosts=settings.hosts.split(","))  # Starlette runs the middleware added last first
    return app
