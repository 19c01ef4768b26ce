"""Errors as RFC 9457 `application/problem+json`, with what failed, what was expected, and whether a retry is safe."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import Scope

from slipway.errors import InvalidInput, SlipwayError, Unavailable


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


STATUS: dict[type[SlipwayError], int] = {NotFound: 404, Conflict: 409, InvalidInput: 422, Unavailable: 503}
TITLE = {404: "Not found", 405: "Method not allowed", 409: "Conflict", 422: "Invalid input", 503: "Unavailable"}
TITLE |= {400: "Bad request", 401: "Not signed in", 403: "Not allowed", 413: "Too large", 429: "Too many requests"}


Shown = Callable[[Request, int, str, SlipwayError], Response]


def is_page(scope: Scope) -> bool:
    """Whether a request asks for one of the pages; everything else speaks JSON."""
    path = str(scope["path"]).removeprefix(scope.get("root_path", ""))
    return path == "/" or path.startswith("/pages/")


def install(app: FastAPI, page: Shown) -> None:
    """Make every error of the app a problem document, and on the pages a page."""
    app.state.problem_page = page
    app.add_exception_handler(SlipwayError, _of_slipway)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(HTTPException, _of_http)


def problem(request: Request, status: int, error: SlipwayError) -> Response:
    """One problem, as a document or as a page; an answer that may pass by itself says when to ask again."""
    title, headers = TITLE.get(status, "Error"), {"Retry-After": "5"} if status == 503 else {}
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
    status = error.status if isinstance(error, Refusal) else STATUS.get(type(error), 500)
    return problem(request, status, error)


async def _of_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = "; ".join(f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors())
    return problem(
        request, 422, InvalidInput(f"The request is not valid: {faults}.", expected="A request as /openapi.json says.")
    )


async def _of_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    told = f"{request.method} {request.url.path}: {error.detail}."
    return problem(request, error.status_code, NotFound(told, expected="A request as /openapi.json says."))
