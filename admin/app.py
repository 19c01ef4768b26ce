"""The HTTP doors. Until sign-in comes the service answers on 127.0.0.1 only, and refuses other host names."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.trustedhost import TrustedHostMiddleware

from admin import pages, problems
from admin.doors import Doors
from admin.routes import acting, health, jobs, runs, services
from admin.routes.health import NOTICE
from slipway.settings import Settings


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
    for routes in (health, jobs, runs, services, acting):
        app.include_router(routes.router)
    pages.install(app)
    return app
