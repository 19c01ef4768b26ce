"""How much one caller may send: the size of a body, and how many triggers a minute."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Annotated

from fastapi import Depends, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from slipway.admin import problems
from slipway.admin.asgi import replayed
from slipway.admin.problems import TooLarge, TooMany
from slipway.admin.templating import signed_in

LARGEST_BODY = 256 * 1024  # parameters name routes and changes; files do not come in here
CALLERS = 10_000


class BodyLimit:
    """Read a body before anybody acts on it, and refuse one that is too large, also when it comes in chunks."""

    def __init__(self, app: ASGIApp, most: int = LARGEST_BODY) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with its whole body."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        length = dict(scope["headers"]).get(b"content-length", b"0")
        body = None if length.isdigit() and int(length) > self._most else await self._body(receive)
        if body is None:
            error = TooLarge(f"The body has more than {self._most:,} bytes.", expected="A smaller one.")
            await problems.problem(Request(scope), 413, error)(scope, receive, send)
        else:
            await self._app(scope, replayed(body, receive), send)

    async def _body(self, receive: Receive) -> bytes | None:
        """The whole body; None when it is too large. What comes after that is not read."""
        body = bytearray()
        while True:
            message = await receive()
            body += message.get("body", b"")
            if len(body) > self._most:
                return None
            if message["type"] == "http.disconnect" or not message.get("more_body"):
                return bytes(body)


class Rate:
    """A token bucket for each caller: `per_minute` at once, and as many again over a minute."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str) -> None:
        """Take one. Raises TooMany with the seconds until there is one again."""
        now = time.monotonic()
        left, at = self._left.pop(caller, (float(self._per_minute), now))
        left = min(self._per_minute, left + (now - at) * self._per_minute / 60)
        self._left[caller] = (left - 1 if left >= 1 else left, now)
        if len(self._left) > CALLERS:
            self._left.popitem(last=False)
        if left < 1:
            raise TooMany(
                f"{caller} starts more than {self._per_minute} runs a minute.",
                expected="Fewer, or a higher SLIPWAY_TRIGGERS_PER_MINUTE.",
                after_s=(1 - left) * 60 / self._per_minute,
            )


def take(request: Request) -> None:
    """Take one of the triggers that who asks has left. Raises TooMany."""
    caller = signed_in(request) or (request.client.host if request.client else "somebody")
    request.app.state.rate.take(caller)


async def _limited(request: Request) -> None:
    take(request)


Limited = Annotated[None, Depends(_limited)]
