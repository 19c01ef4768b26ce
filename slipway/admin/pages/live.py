"""The part of a page that asks for itself again while something moves; what has not changed is not sent again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from slipway.admin.asgi import path_of
from slipway.admin.formatting import roughly
from slipway.admin.services import AdminServices
from slipway.admin.templating import HEADERS, draw, link

EVERY_S = 2
STALE_S = 15  # what is known of Prefect is older than this only while it does not answer


@dataclass(frozen=True)
class Region:
    """A part of a page, drawn: its HTML, and the digest by which a browser says that it has it already."""

    html: Markup
    digest: str


def region(request: Request, name: str, *, moves: bool, where: str = "live", **values: Any) -> Region:
    """Draw a template as the live part of the page that is asked for; it asks again only while something `moves`."""
    inner = draw(request, name, **values)
    digest = hashlib.blake2b(f"{moves}{inner}".encode(), digest_size=8).hexdigest()
    every = EVERY_S if moves else 0
    address = f"{link(request, path_of(request.scope))}?seen={digest}"
    return Region(draw(request, "live.html", inner=inner, every=every, address=address, where=where), digest)


def stale(container: AdminServices) -> str:
    """How old what is shown is, in words; empty as long as it is as Prefect has it."""
    age_s = container.age_s
    return f"Prefect does not answer. This is what was known {roughly(age_s)} ago." if age_s > STALE_S else ""


def is_asked(request: Request) -> bool:
    """Whether only the live part is wanted, by the script in the page."""
    return request.headers.get("hx-request") == "true"


def answer(request: Request, found: Region) -> Response:
    """The live part alone; 204 when the browser has it already, which leaves the page as it is."""
    if request.query_params.get("seen") == found.digest:
        return Response(status_code=204, headers=HEADERS)
    return HTMLResponse(found.html, headers=HEADERS)
