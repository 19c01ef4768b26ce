"""The HTML pages, rendered on the server from the data of the JSON API. Every page works without JavaScript."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

from slipway.admin.pages import actions, changes, history, jobs, overview, runs, services
from slipway.admin.templating import HERE, page
from slipway.core.errors import SlipwayError


def install(app: FastAPI) -> None:
    """Add the pages and their static files to the app."""
    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")
    for routes in (overview, jobs, actions, history, runs, services, changes):
        app.include_router(routes.router)


def problem_page(request: Request, status: int, title: str, error: SlipwayError) -> HTMLResponse:
    """Return an error as a page."""
    return page(request, "problem.html", status=status, title=title, error=error)
