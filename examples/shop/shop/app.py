"""The shop as one ASGI application; nothing connects before the first request."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from shop import catalogue, orders, sign_in
from shop.database import open_pool
from shop.head import Head
from shop.pages import send_private
from shop.settings import Settings, read_settings


def create_app() -> ASGIApp:
    """Build the shop from its environment; uvicorn calls this (`--factory`)."""
    settings = read_settings()
    return Head(build(settings), settings.release)


def build(settings: Settings) -> FastAPI:
    """Put the routes, the error pages, the pool and the signer together."""
    app = FastAPI(lifespan=close_pool, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.pool = open_pool(settings.database_url)
    app.state.signer = sign_in.open_signer(settings.session_secret)
    for module in (catalogue, orders, sign_in):
        app.include_router(module.router)
    app.add_api_route("/health", show_health)
    app.add_exception_handler(RequestValidationError, show_not_found)
    app.add_exception_handler(HTTPException, show_http_error)
    app.add_exception_handler(Exception, show_failure)
    return app


@asynccontextmanager
async def close_pool(app: FastAPI) -> AsyncIterator[None]:
    """Close the pool when the server stops."""
    yield
    app.state.pool.dispose()


async def show_health() -> Response:
    """Say that the process answers; looks at nothing else."""
    return JSONResponse({"ok": True}, headers={"Cache-Control": "no-store"})


def show_not_found(request: Request, error: Exception) -> Response:
    """An address with an ill-typed id names no page."""
    return show_error(request, 404)


def show_http_error(request: Request, error: HTTPException) -> Response:
    """Show the page of an HTTP error, with the headers that belong to it."""
    page = show_error(request, error.status_code)
    page.headers.update(error.headers or {})
    return page


async def show_failure(request: Request, error: Exception) -> Response:
    """Show that the shop failed; must not need the database, which may be the reason."""
    return send_private("error.html", 500, customer=None, code=500)


def show_error(request: Request, status: int) -> Response:
    """Show a small page that names the customer like every other page."""
    with request.app.state.pool.connect() as connection:
        customer = sign_in.find_customer(request, connection)
    return send_private("error.html", status, customer=customer, code=status)
