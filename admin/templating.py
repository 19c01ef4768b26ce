"""How a page is drawn: the templates, what they can ask, and the headers of every page."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from admin.access.caller import seen
from admin.prefect_api import Document
from slipway.access import Right

HERE = Path(__file__).parent
GOOD, BAD = {"Kept", "Passed", "Completed", "Backfilled", "Fit", "RolledBack"}, {"FAILED", "CRASHED"}
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
    """A template as an answer. It can ask for `url(path)`, `csrf_field()`, `may(right, service)` and `signed_in()`."""
    asked = {
        "url": partial(link, request),
        "csrf_field": partial(csrf_field, request),
        "may": partial(may, request),
        "signed_in": partial(signed_in, request),
    }
    drawn = _templates.get_template(name).render(**{"live": False, **asked, **values})
    return HTMLResponse(drawn, status_code=status, headers=HEADERS)


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


def _moment(value: str) -> str:
    """A time as the pages write it; a script puts it into the reader's own zone."""
    return f"{datetime.fromisoformat(value):%Y-%m-%d %H:%M:%S} UTC"


def _took(run: Document) -> str:
    if not run["started"] or not run["ended"]:
        return ""
    return _seconds((datetime.fromisoformat(run["ended"]) - datetime.fromisoformat(run["started"])).total_seconds())


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _cell(value: Any) -> str:
    """A number, a word, or who reads a route, in a table of measurements."""
    if isinstance(value, dict):
        return f"{value['route']} as {value['identity']}"
    if isinstance(value, float):
        return f"{value:.2f}"
    return "" if value is None else str(value)


def _mood(state: Document) -> str:
    """How a state is coloured; its words say the same."""
    if state["type"] in BAD or state["name"] in ("GaveUp", "RollBackFailed"):
        return "bad"
    if state["type"] == "COMPLETED":
        return "good" if state["name"] in GOOD else "odd"
    return "odd" if state["type"] in ("PAUSED", "CANCELLED", "CANCELLING") else "busy"


_templates.filters.update(moment=_moment, seconds=_seconds, cell=_cell)
_templates.globals.update(took=_took, mood=_mood)
