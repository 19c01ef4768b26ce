"""Errors as RFC 9457 `application/problem+json`, with the members `failed`, `expected` and `retry_is_safe`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import Scope

from slipway.admin.asgi import path_of
from slipway.core.errors import InvalidInput, SlipwayError, Unavailable


class NotFound(SlipwayError):
    """The requested object does not exist."""

    def __init__(self, failed: str, *, expected: str) -> None:
        super().__init__(failed, expected=expected, retry_is_safe=True)


class Conflict(SlipwayError):
    """The request conflicts with the current state."""

    def __init__(self, failed: str, *, expected: str) -> None:
        super().__init__(failed, expected=expected, retry_is_safe=True)


class Refusal(SlipwayError):
    """A request that is refused before it has any effect, with the response's status and extra headers."""

    status = 400

    def __init__(self, failed: str, *, expected: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(failed, expected=expected, retry_is_safe=True)
        self.headers = dict(headers or {})


class NotSignedIn(Refusal):
    """The caller is not authenticated."""

    status = 401


class Forbidden(Refusal):
    """The caller lacks the permission."""

    status = 403


class TooLarge(Refusal):
    """The request body exceeds the limit; nothing was started."""

    status = 413


class TooMany(Refusal):
    """The caller exceeds a rate limit, and can retry after `after_s` seconds."""

    status = 429

    def __init__(self, failed: str, *, expected: str, after_s: float) -> None:
        super().__init__(failed, expected=expected, headers={"Retry-After": str(math.ceil(after_s))})


STATUS: dict[type[SlipwayError], int] = {NotFound: 404, Conflict: 409, InvalidInput: 422, Unavailable: 503}
TITLE = {
    400: "Bad request",
    401: "Not signed in",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    413: "Content too large",
    422: "Invalid input",
    429: "Too many requests",
    500: "Internal error",
    503: "Unavailable",
}
RETRY_AFTER_S = 5


def status_of(error: SlipwayError) -> int:
    """Return the HTTP status of an error."""
    return error.status if isinstance(error, Refusal) else STATUS.get(type(error), 500)


PageRenderer = Callable[[Request, int, str, SlipwayError], Response]


def is_page(scope: Scope) -> bool:
    """Whether a request is for an HTML page; all other paths return JSON."""
    path = path_of(scope)
    return path == "/" or path.startswith("/pages/")


def install(app: FastAPI, page: PageRenderer) -> None:
    """Convert every error of the app to a problem document, or to an error page for a page request."""
    app.state.problem_page = page
    app.add_exception_handler(SlipwayError, _handle_slipway_error)
    app.add_exception_handler(RequestValidationError, _handle_validation_error)
    app.add_exception_handler(HTTPException, _handle_http_error)
    app.add_exception_handler(Exception, _handle_bug)


def problem(request: Request, status: int, error: SlipwayError) -> Response:
    """Return an error as a problem document or page, with Retry-After if the error may be temporary."""
    title = TITLE.get(status, "Error")
    headers = {"Retry-After": str(RETRY_AFTER_S)} if isinstance(error, Unavailable) else {}
    headers |= error.headers if isinstance(error, Refusal) else {}
    if is_page(request.scope):
        page: Response = request.app.state.problem_page(request, status, title, error)
        page.headers.update(headers)
        return page
    body = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": str(error),
        "failed": error.failed,
        "expected": error.expected,
        "retry_is_safe": error.retry_is_safe,
    }
    return JSONResponse(body, status_code=status, media_type="application/problem+json", headers=headers)


async def _handle_slipway_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, SlipwayError)
    return problem(request, status_of(error), error)


async def _handle_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = "; ".join(f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors())
    return problem(
        request,
        422,
        InvalidInput(f"The request is not valid: {faults}.", expected="A request that matches /openapi.json."),
    )


async def _handle_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path}: {error.detail}."
    if error.status_code == 400:  # a body that cannot be decoded; a body that is not JSON is a 422, too
        return problem(request, 422, InvalidInput(message, expected="A request that matches /openapi.json."))
    answer = problem(request, error.status_code, NotFound(message, expected="A request that matches /openapi.json."))
    answer.headers.update(error.headers or {})  # such as Allow
    return answer


async def _handle_bug(request: Request, error: Exception) -> Response:
    """Answer 500 for a bug in this program. The log has the traceback; the request may or may not have taken effect."""
    bug = SlipwayError(
        f"This service failed: {type(error).__name__}.",
        expected="The request does not fail inside the service. The service's log has the traceback.",
        retry_is_safe=False,
    )
    return problem(request, 500, bug)
