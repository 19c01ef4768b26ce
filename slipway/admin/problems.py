"""Errors as RFC 9457 `application/problem+json`, with what failed, what was expected, and whether a retry is safe."""

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
    """There is no such thing."""

    def __init__(self, failed: str, *, expected: str) -> None:
        super().__init__(failed, expected=expected, retry_is_safe=True)


class Conflict(SlipwayError):
    """It cannot be done now, because of something else that is there."""

    def __init__(self, failed: str, *, expected: str) -> None:
        super().__init__(failed, expected=expected, retry_is_safe=True)


class Refusal(SlipwayError):
    """A request that is refused before anything is done, with its status and what the answer's headers add."""

    status = 400

    def __init__(self, failed: str, *, expected: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(failed, expected=expected, retry_is_safe=True)
        self.headers = dict(headers or {})


class NotSignedIn(Refusal):
    """It is not known who asks."""

    status = 401


class Forbidden(Refusal):
    """Who asks may not do this."""

    status = 403


class TooLarge(Refusal):
    """A body has more bytes than are taken; nothing was started."""

    status = 413


class TooMany(Refusal):
    """Somebody asks more often than they may; `after_s` seconds later they may again."""

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
AGAIN_AFTER_S = 5


def status_of(error: SlipwayError) -> int:
    """The status of the answer to an error."""
    return error.status if isinstance(error, Refusal) else STATUS.get(type(error), 500)


Shown = Callable[[Request, int, str, SlipwayError], Response]


def is_page(scope: Scope) -> bool:
    """Whether a request asks for one of the pages; everything else speaks JSON."""
    path = path_of(scope)
    return path == "/" or path.startswith("/pages/")


def install(app: FastAPI, page: Shown) -> None:
    """Make every error of the app a problem document, and on the pages a page."""
    app.state.problem_page = page
    app.add_exception_handler(SlipwayError, _of_slipway)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(Exception, _of_ours)


def problem(request: Request, status: int, error: SlipwayError) -> Response:
    """One problem, as a document or as a page; an answer that may pass by itself says when to ask again."""
    title = TITLE.get(status, "Error")
    headers = {"Retry-After": str(AGAIN_AFTER_S)} if isinstance(error, Unavailable) else {}
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


async def _of_slipway(request: Request, error: Exception) -> Response:
    assert isinstance(error, SlipwayError)
    return problem(request, status_of(error), error)


async def _of_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = "; ".join(f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors())
    return problem(
        request, 422, InvalidInput(f"The request is not valid: {faults}.", expected="A request as /openapi.json says.")
    )


async def _of_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    told = f"{request.method} {request.url.path}: {error.detail}."
    if error.status_code == 400:  # a body that is no text at all; one that is no JSON is a 422, too
        return problem(request, 422, InvalidInput(told, expected="A request as /openapi.json says."))
    answer = problem(request, error.status_code, NotFound(told, expected="A request as /openapi.json says."))
    answer.headers.update(error.headers or {})  # such as Allow
    return answer


async def _of_ours(request: Request, error: Exception) -> Response:
    """A fault of this program; its traceback is in the log. Whether something was done nobody can say."""
    told = SlipwayError(
        f"This service failed: {type(error).__name__}.", expected="No fault of ours.", retry_is_safe=False
    )
    return problem(request, 500, told)
