"""The whole service as a router, for use inside another FastAPI app."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI

from slipway.admin.app import create_app


def slipway_router() -> APIRouter:
    """Return a router with the whole service: `app.include_router(slipway_router(), prefix="/slipway")`.

    The router has its own sign-in, errors and headers, and starts and stops with the app that includes it. Links, cookies
    and redirects stay below the prefix. The same environment variables configure the router and the standalone service.
    """
    service = create_app(own_process=False)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service.router.lifespan_context(service):
            yield

    router = APIRouter(lifespan=lifespan)
    router.mount("/", service)
    return router
