"""The live part of a page: the browser requests it again while a run is in flight. Unchanged content is not sent again."""

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
STALE_S = 15  # the read model is older than this only while Prefect does not answer


@dataclass(frozen=True)
class Region:
    """A rendered part of a page. The browser sends the digest with the next request, to say which version it shows."""

    html: Markup
    digest: str


def region(request: Request, name: str, *, polling: bool, element_id: str = "live", **values: Any) -> Region:
    """Render a template as the live part of the requested page. The browser requests it again only if `polling`."""
    inner = draw(request, name, **values)
    digest = hashlib.blake2b(f"{polling}{inner}".encode(), digest_size=8).hexdigest()
    every = EVERY_S if polling else 0
    address = f"{link(request, path_of(request.scope))}?seen={digest}"
    return Region(draw(request, "live.html", inner=inner, every=every, address=address, element_id=element_id), digest)


def stale_notice(container: AdminServices) -> str:
    """Return a notice with the age of the shown data; empty while the data is current."""
    age_s = container.age_s
    return f"Prefect does not answer. This page shows the state from {roughly(age_s)} ago." if age_s > STALE_S else ""


def is_live_request(request: Request) -> bool:
    """Return whether the script of the page requests only the live part."""
    return request.headers.get("hx-request") == "true"


def respond(request: Request, current: Region) -> Response:
    """Return the live part alone, or 204 if the browser already shows this version; 204 leaves the page unchanged."""
    if request.query_params.get("seen") == current.digest:
        return Response(status_code=204, headers=HEADERS)
    return HTMLResponse(current.html, headers=HEADERS)
