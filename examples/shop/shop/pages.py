"""HTML responses, with the headers that tell caches what they may store."""

import hashlib
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, FileSystemLoader, select_autoescape

# A shared cache stores the page for an hour. A browser revalidates it every time.
SHARED = "public, max-age=0, s-maxage=3600"
PRIVATE = "private, no-store"


def format_money(cents: int) -> str:
    """Format an amount in euros."""
    return f"€{cents / 100:,.2f}"


def format_day(moment: datetime) -> str:
    """Format the day of a time."""
    return f"{moment:%d %b %Y}"


TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=select_autoescape(),
    auto_reload=False,
)
TEMPLATES.filters.update(money=format_money, day=format_day)


def render(template: str, **context: Any) -> bytes:
    """Render a template to bytes."""
    return TEMPLATES.get_template(template).render(**context).encode()


def send_private(template: str, status: int = 200, **context: Any) -> Response:
    """Return a page that no cache may store."""
    return HTMLResponse(render(template, **context), status, {"Cache-Control": PRIVATE})


def send_catalogue(request: Request, template: str, tags: Iterable[str], **context: Any) -> Response:
    """Return a page of the catalogue: cacheable for anonymous visitors, private for signed-in customers."""
    if context["customer"]:
        page = send_private(template, **context)
        page.headers["Vary"] = "Cookie"
        return page
    body = render(template, **context)
    headers = describe_shared(body, tags)
    if has_matching_tag(request.headers.get("If-None-Match", ""), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return HTMLResponse(body, headers=headers)


def describe_shared(body: bytes, tags: Iterable[str]) -> dict[str, str]:
    """Return the headers of a page that shared caches may store."""
    return {
        "Cache-Control": SHARED,
        "ETag": f'"{hashlib.sha256(body).hexdigest()[:32]}"',
        "Surrogate-Key": " ".join(tags),
        "Vary": "Cookie",
    }


def has_matching_tag(if_none_match: str, etag: str) -> bool:
    """Return whether an If-None-Match header matches, by weak comparison (RFC 9110, section 13.1.2)."""
    candidates = [candidate.strip().removeprefix("W/") for candidate in if_none_match.split(",")]
    return etag in candidates or "*" in candidates
