"""The whole service inside somebody's own FastAPI admin, as a router."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI

from slipway.admin.app import create_app


def slipway_router() -> APIRouter:
    """A router with everything: `app.include_router(slipway_router(), prefix="/slipway")`.

    It comes with its own sign-in, errors and headers, and starts and stops with the app that includes it. Links, cookies
    and redirects stay below the prefix. It is set by the same environment variables as the service by itself.
    """
    service = create_app(own_process=False)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service.router.lifespan_context(service):
            yield

    router = APIRouter(lifespan=lifespan)
    router.mount("/", service)
    return router
