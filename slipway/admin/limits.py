"""Limits for each caller: the size of a request body, and the number of triggers per minute."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Annotated

from fastapi import Depends, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from slipway.admin import problems
from slipway.admin.asgi import replay
from slipway.admin.problems import TooLarge, TooMany
from slipway.admin.templating import signed_in

LARGEST_BODY = 256 * 1024  # parameters name routes and changes; no request uploads a file
MAX_CALLERS = 10_000


class BodyLimit:
    """ASGI middleware that reads the whole body first and answers 413 if it is too large, also for a chunked body."""

    def __init__(self, app: ASGIApp, max_bytes: int = LARGEST_BODY) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request with its whole body."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        length = dict(scope["headers"]).get(b"content-length", b"0")
        body = None if length.isdigit() and int(length) > self._max_bytes else await self._body(receive)
        if body is None:
            error = TooLarge(f"The body has more than {self._max_bytes:,} bytes.", expected="A smaller body.")
            await problems.problem(Request(scope), 413, error)(scope, receive, send)
        else:
            await self._app(scope, replay(body, receive), send)

    async def _body(self, receive: Receive) -> bytes | None:
        """Return the whole body, or None as soon as it is too large; the rest is not read."""
        body = bytearray()
        while True:
            message = await receive()
            body += message.get("body", b"")
            if len(body) > self._max_bytes:
                return None
            if message["type"] == "http.disconnect" or not message.get("more_body"):
                return bytes(body)


class Rate:
    """A token bucket for each caller: a burst of `per_minute`, refilled over one minute."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._tokens: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str) -> None:
        """Take one token. Raises TooMany with the seconds until the next token."""
        now = time.monotonic()
        tokens, taken_at = self._tokens.pop(caller, (float(self._per_minute), now))
        tokens = min(self._per_minute, tokens + (now - taken_at) * self._per_minute / 60)
        self._tokens[caller] = (tokens - 1 if tokens >= 1 else tokens, now)
        if len(self._tokens) > MAX_CALLERS:
            self._tokens.popitem(last=False)
        if tokens < 1:
            raise TooMany(
                f"{caller} starts more than {self._per_minute} runs per minute.",
                expected="Fewer starts, or a higher SLIPWAY_TRIGGERS_PER_MINUTE.",
                after_s=(1 - tokens) * 60 / self._per_minute,
            )


def take(request: Request) -> None:
    """Take one of the caller's triggers. Raises TooMany."""
    caller = signed_in(request) or (request.client.host if request.client else "anonymous")
    request.app.state.rate.take(caller)


async def _check_rate(request: Request) -> None:
    take(request)


Limited = Annotated[None, Depends(_check_rate)]
