"""Errors as RFC 9457 `application/problem+json`, with what failed, what was expected, and whether a retry is safe."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from slipway.errors import InvalidInput, SlipwayError, Unavailable


class NotFound(SlipwayError):
    """There is no such thing."""

    def __init__(self, failed: str, *, expected: str) -> None:
        super().__init__(failed, expected=expected, retry_is_safe=True)


class Conflict(SlipwayError):
    """It cannot be done now, because of something else that is there."""

    def __init__(self, failed: str, *, expected: str) -> None:
        super().__init__(failed, expected=expected, retry_is_safe=True)


STATUS: dict[type[SlipwayError], int] = {NotFound: 404, Conflict: 409, InvalidInput: 422, Unavailable: 503}
TITLE = {404: "Not found", 405: "Method not allowed", 409: "Conflict", 422: "Invalid input", 503: "Unavailable"}


def install(app: FastAPI) -> None:
    """Make every error of the app a problem document."""
    app.add_exception_handler(SlipwayError, _of_slipway)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(HTTPException, _of_http)


def problem(status: int, error: SlipwayError) -> JSONResponse:
    """One problem document; an answer that may pass by itself says when to ask again."""
    body = {
        "type": "about:blank",
        "title": TITLE.get(status, "Error"),
        "status": status,
        "detail": str(error),
        "failed": error.failed,
        "expected": error.expected,
        "retry_is_safe": error.retry_is_safe,
    }
    headers = {"Retry-After": "5"} if status == 503 else None
    return JSONResponse(body, status_code=status, media_type="application/problem+json", headers=headers)


async def _of_slipway(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, SlipwayError)
    return problem(STATUS.get(type(error), 500), error)


async def _of_validation(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    faults = "; ".join(f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors())
    return problem(
        422, InvalidInput(f"The request is not valid: {faults}.", expected="A request as /openapi.json says.")
    )


async def _of_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    told = f"{request.method} {request.url.path}: {error.detail}."
    return problem(error.status_code, NotFound(told, expected="A request as /openapi.json says."))
