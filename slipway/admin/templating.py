"""Render pages: the templates, the functions and filters that they use, and the headers of every page."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from slipway.accounts.grants import Right
from slipway.admin import formatting
from slipway.admin.asgi import path_of
from slipway.admin.auth.caller import caller_in

HERE = Path(__file__).parent
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_templates = Environment(
    loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)


def page(request: Request, name: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """Return a rendered template as a response. `draw` lists the functions of a template, such as `may(right, service)`."""
    return HTMLResponse(draw(request, name, **values), status_code=status, headers=HEADERS)


def draw(request: Request, name: str, **values: Any) -> Markup:
    """Render a template as HTML, for a page or a part of a page."""
    functions = {
        "url": partial(link, request),
        "path": partial(path_of, request.scope),
        "csrf_field": partial(csrf_field, request),
        "may": partial(may, request),
        "signed_in": partial(signed_in, request),
        "may_sign_out": partial(may_sign_out, request),
    }
    html = _templates.get_template(name).render(**functions, **values)
    return Markup(html)  # noqa: S704 - the templates escape their values


def link(request: Request, path: str) -> str:
    """Return the path that a browser has to request, including the prefix that the service is mounted under."""
    return f"{request.scope.get('root_path', '')}{path}"


def csrf_field(request: Request) -> Markup:
    """Return the hidden CSRF field of a form. Forms without it are refused."""
    caller = caller_in(request.scope)
    return Markup('<input type="hidden" name="csrf" value="{}">').format(caller.csrf if caller else "")


def may(request: Request, right: Right, service: str | None = None) -> bool:
    """Whether the caller has a right on a service; without a service, on any one (`administer`: on all)."""
    caller = caller_in(request.scope)
    if caller is None:
        return False
    if service is None and right != "administer":
        return caller.may_somewhere(right)
    return caller.may(right, service)


def signed_in(request: Request) -> str | None:
    """Return the name of the signed-in person, or None."""
    caller = caller_in(request.scope)
    return None if caller is None else caller.person


def may_sign_out(request: Request) -> bool:
    """Whether the caller can sign out here. A proxy would sign its user in again at once."""
    caller = caller_in(request.scope)
    return caller is not None and caller.how != "proxy"


_templates.filters.update(
    moment=formatting.moment,
    seconds=formatting.seconds,
    cell=formatting.cell,
    roughly=formatting.roughly,
    spoken=formatting.spoken,
    label=formatting.label,
    as_text=formatting.as_text,
)
_templates.globals.update(took=formatting.took, mood=formatting.mood)
