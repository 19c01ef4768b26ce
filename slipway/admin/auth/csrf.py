"""Requests that another site makes a browser send: what a browser sends by itself is believed only from our own pages."""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Receive

from slipway.admin.asgi import replayed
from slipway.admin.auth.caller import Caller
from slipway.admin.problems import Forbidden, TooLarge

FIELD, HEADER = "csrf", "x-csrf-token"
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
LONGEST = 65_536  # bytes of a form


async def refuse_forged(request: Request, caller: Caller | None) -> Receive:
    """Raise Forbidden for a request that may come from another site; the answer is how its body is read from here on.

    A form has to carry its session's token, in a field or a header. Every other request by cookie, those of strangers
    (sign-in) and those behind a proxy have to prove by the browser's own headers that they come from this origin.
    """
    proven = _from_here(request)
    if proven is False:
        raise _refused("comes from a page of another site")
    if caller is None or caller.how == "proxy":
        if proven is None:
            raise _refused("does not show that it comes from a page of this service")
        return replayed(await _body(request), request.receive) if caller is None else request.receive
    given = request.headers.get(HEADER, "")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() in FORMS:
        body = await _body(request)
        if not _same(given or await _field(request, body), caller.csrf):
            raise _refused("carries no token of this session")
        return replayed(body, request.receive)
    if proven is None and not _same(given, caller.csrf):
        raise _refused("does not show that it comes from a page of this service")
    return request.receive


def _from_here(request: Request) -> bool | None:
    """What the browser says about where the request comes from; None when it says nothing."""
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    if origin is not None and urlsplit(origin).netloc.lower() != request.headers.get("host", "").lower():
        return False
    if site is not None and site != "same-origin":
        return False
    return None if origin is None and site is None else True


async def _body(request: Request) -> bytes:
    """The whole body, as far as it may be long."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST:
            raise TooLarge(f"The form has more than {LONGEST:,} bytes.", expected="A shorter one.")
    return body


async def _field(request: Request, body: bytes) -> str:
    """The token in a form; empty where it has none, or more than one."""
    try:
        async with Request(request.scope, replayed(body, request.receive)).form(max_files=0, max_fields=1_000) as form:
            found = form.getlist(FIELD)
    except HTTPException:  # it is no form
        return ""
    return found[0] if len(found) == 1 and isinstance(found[0], str) else ""


def _same(given: str, expected: str) -> bool:
    return bool(expected) and hmac.compare_digest(given.encode(), expected.encode())


def _refused(why: str) -> Forbidden:
    return Forbidden(f"The request {why}.", expected="The button of a page that was loaded since you signed in.")
