"""The session cookie."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from slipway.accounts.sessions import LIFETIME

NAME = "slipway_session"


def session_key(request: Request) -> str:
    """Return the session key in the request's cookie; empty without a cookie."""
    return request.cookies.get(_name(request)) or ""


def set_session(request: Request, response: Response, key: str) -> None:
    """Set the cookie with the key of a new session."""
    _write(request, response, key, int(LIFETIME.total_seconds()))


def end_session(request: Request, response: Response) -> None:
    """Delete the session cookie."""
    _write(request, response, "", 0)


def _write(request: Request, response: Response, key: str, seconds: int) -> None:
    response.set_cookie(
        _name(request),
        key,
        max_age=seconds,
        path=request.scope.get("root_path", "") or "/",
        secure=_is_https(request),
        httponly=True,
        samesite="lax",
    )


def _name(request: Request) -> str:
    """Return the cookie name. With TLS and at the root, no other host and no subpath can set it (RFC 6265bis, 4.1.3)."""
    return f"__Host-{NAME}" if _is_https(request) and not request.scope.get("root_path") else NAME


def _is_https(request: Request) -> bool:
    return bool(request.app.state.access.proxy.is_https(request.scope))
