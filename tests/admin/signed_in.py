"""For tests that are not about sign-in: an app in which everybody is one given caller."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from slipway.accounts.grants import Grant
from slipway.admin.auth.caller import Caller
from slipway.admin.auth.proxy import Proxy
from slipway.core.settings import Settings

ADMIN = Caller("ada", "token", (Grant(role="admin"),), token="test")


class OnlyOne:
    """What the guard asks of `Access`, answered with one caller; what is noted can be read in `noted`."""

    def __init__(self, caller: Caller) -> None:
        self.one = caller
        self.proxy = Proxy(Settings())
        self.noted: list[tuple[str, str, str]] = []

    async def caller(self, request: Any, *, fresh: bool) -> Caller:
        return self.one

    async def begin(self, *_: Any, **__: Any) -> str:
        return ""

    async def written(self) -> None:
        return None

    async def note(self, request: Any, what: str, on: str, outcome: str, **who: str) -> None:
        self.noted.append((what, on, outcome))


def let_in(app: FastAPI, container: Any, caller: Caller = ADMIN) -> OnlyOne:
    """Make every request to the app one of this caller's, answered from these doors."""
    app.state.container = container
    app.state.access = OnlyOne(caller)
    return app.state.access
