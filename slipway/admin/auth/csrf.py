"""Cross-site request forgery: reject requests that a page of another site makes a browser send with our cookie."""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Receive

from slipway.admin.asgi import replay
from slipway.admin.auth.caller import Caller
from slipway.admin.problems import Forbidden, TooLarge

FIELD, HEADER = "csrf", "x-csrf-token"
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
MAX_FORM_BYTES = 65_536


async def check_csrf(request: Request, caller: Caller | None) -> Receive:
    """Raise `Forbidden` if a request may come from another site. Return the `receive` from which to read its body.

    A form must carry the CSRF token of its session, in a field or a header. Other requests with a session cookie need this
    token as a header, or browser headers that name this origin. Sign-in requests and requests through a proxy always need
    these browser headers.
    """
    same_origin = _is_same_origin(request)
    if same_origin is False:
        raise _forbidden("comes from a page of another site")
    if caller is None or caller.how == "proxy":
        if same_origin is None:
            raise _forbidden("does not show that it comes from a page of this service")
        return replay(await _body(request), request.receive) if caller is None else request.receive
    token = request.headers.get(HEADER, "")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() in FORMS:
        body = await _body(request)
        if not _tokens_match(token or await _form_token(request, body), caller.csrf):
            raise _forbidden("does not carry the CSRF token of this session")
        return replay(body, request.receive)
    if same_origin is None and not _tokens_match(token, caller.csrf):
        raise _forbidden("does not show that it comes from a page of this service")
    return request.receive


def _is_same_origin(request: Request) -> bool | None:
    """Return whether the browser's headers name this origin; None without such headers."""
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    if origin is not None and urlsplit(origin).netloc.lower() != request.headers.get("host", "").lower():
        return False
    if site is not None and site != "same-origin":
        return False
    return None if origin is None and site is None else True


async def _body(request: Request) -> bytes:
    """Return the whole body. Raises `TooLarge` above `MAX_FORM_BYTES`."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            raise TooLarge(f"The form has more than {MAX_FORM_BYTES:,} bytes.", expected="A shorter form.")
    return body


async def _form_token(request: Request, body: bytes) -> str:
    """Return the CSRF token in a form; empty if the form has none, or more than one."""
    try:
        async with Request(request.scope, replay(body, request.receive)).form(max_files=0, max_fields=1_000) as form:
            tokens = form.getlist(FIELD)
    except HTTPException:  # the body is not a form
        return ""
    return tokens[0] if len(tokens) == 1 and isinstance(tokens[0], str) else ""


def _tokens_match(given: str, expected: str) -> bool:
    return bool(expected) and hmac.compare_digest(given.encode(), expected.encode())


def _forbidden(reason: str) -> Forbidden:
    return Forbidden(
        f"The request {reason}.", expected="A form from a page that was loaded after you signed in. Reload the page."
    )
