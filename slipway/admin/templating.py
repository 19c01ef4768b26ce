"""How a page is drawn: the templates, what they can ask, and the headers of every page."""

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
from slipway.admin.auth.caller import seen

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
    """A template as an answer. It can ask for what `draw` gives it, such as `url(path)`, `may(right, service)`."""
    return HTMLResponse(draw(request, name, **values), status_code=status, headers=HEADERS)


def draw(request: Request, name: str, **values: Any) -> Markup:
    """A template as HTML, for a page or a part of one."""
    asked = {
        "url": partial(link, request),
        "path": partial(path_of, request.scope),
        "csrf_field": partial(csrf_field, request),
        "may": partial(may, request),
        "signed_in": partial(signed_in, request),
        "may_sign_out": partial(may_sign_out, request),
    }
    drawn = _templates.get_template(name).render(**asked, **values)
    return Markup(drawn)  # noqa: S704 - the templates escape what they are given


def link(request: Request, path: str) -> str:
    """One of the service's own paths as a browser has to ask for it, also where the service is mounted below another."""
    return f"{request.scope.get('root_path', '')}{path}"


def csrf_field(request: Request) -> Markup:
    """The hidden field that every form carries: without it a form is refused."""
    caller = seen(request.scope)
    return Markup('<input type="hidden" name="csrf" value="{}">').format(caller.csrf if caller else "")


def may(request: Request, right: Right, service: str | None = None) -> bool:
    """Whether who asks may do something to a service; without one, to any (to administer is about all of them)."""
    caller = seen(request.scope)
    if caller is None:
        return False
    if service is None and right != "administer":
        return caller.may_somewhere(right)
    return caller.may(right, service)


def signed_in(request: Request) -> str | None:
    """Who asks."""
    caller = seen(request.scope)
    return None if caller is None else caller.person


def may_sign_out(request: Request) -> bool:
    """Whether the way out is here; whom a proxy signs in, it would sign in again at once."""
    caller = seen(request.scope)
    return caller is not None and caller.how != "proxy"


_templates.filters.update(
    moment=formatting.moment,
    seconds=formatting.seconds,
    cell=formatting.cell,
    roughly=formatting.roughly,
    spoken=formatting.spoken,
    label=formatting.label,
    told=formatting.told,
)
_templates.globals.update(took=formatting.took, mood=formatting.mood)
