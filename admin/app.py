"""The HTTP doors. Until sign-in comes the service answers on 127.0.0.1 only, and refuses other host names."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.trustedhost import TrustedHostMiddleware

from admin import answers, pages, problems
from admin.doors import Doors
from admin.limits import BodyLimit, Rate
from admin.routes import acting, health, jobs, runs, services
from admin.routes.health import NOTICE
from slipway.settings import Settings


def create_app() -> FastAPI:
    """The service, with its settings from the environment; it connects when the first request needs it."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        settings = Settings.from_environment()
        auth = os.environ.get("PREFECT_API_AUTH_STRING", "")
        app.state.doors = Doors(settings, os.environ["PREFECT_API_URL"], auth)
        app.state.rate = Rate(settings.triggers_per_minute)
        app.state.doors.start()
        yield
        await app.state.doors.close()

    app = FastAPI(title="Slipway", description=NOTICE, lifespan=lifespan, responses=answers.EVERYWHERE)
    app.add_middleware(BodyLimit)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
    problems.install(app, pages.problem_page)
    for routes in (health, jobs, runs, services, acting):
        app.include_router(routes.router)
    pages.install(app)
    return app
