"""The shop as an ASGI application. It does not connect to the database before the first request."""

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
    """Build the application from routes, error pages, pool and signer."""
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
    """Report that the process answers, without any other check."""
    return JSONResponse({"ok": True}, headers={"Cache-Control": "no-store"})


def show_not_found(request: Request, error: Exception) -> Response:
    """Answer 404 for an address with an invalid id."""
    return show_error(request, 404)


def show_http_error(request: Request, error: HTTPException) -> Response:
    """Show the page of an HTTP error with the error's headers."""
    page = show_error(request, error.status_code)
    page.headers.update(error.headers or {})
    return page


async def show_failure(request: Request, error: Exception) -> Response:
    """Show the page for an internal error. It must not need the database, which may be the cause."""
    return send_private("error.html", 500, customer=None, code=500)


def show_error(request: Request, status: int) -> Response:
    """Show a small error page with the customer's name, like every other page."""
    with request.app.state.pool.connect() as connection:
        customer = sign_in.find_customer(request, connection)
    return send_private("error.html", status, customer=customer, code=status)
