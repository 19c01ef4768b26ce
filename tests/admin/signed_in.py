"""For tests that are not about sign-in: an app in which every request comes from one given caller."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from slipway.accounts.grants import Grant
from slipway.admin.auth.caller import Caller
from slipway.admin.auth.proxy import Proxy
from slipway.core.settings import Settings

ADMIN = Caller("ada", "token", (Grant(role="admin"),), token="test")


class OnlyOne:
    """A stand-in for `Access` that returns one caller for every request; `noted` has the audit entries."""

    def __init__(self, caller: Caller) -> None:
        self.only_caller = caller
        self.proxy = Proxy(Settings())
        self.noted: list[tuple[str, str, str]] = []

    async def caller(self, request: Any, *, fresh: bool) -> Caller:
        return self.only_caller

    async def record_start(self, *_: Any, **__: Any) -> str:
        return ""

    async def wait_written(self) -> None:
        return None

    async def record(self, request: Any, what: str, on: str, outcome: str, **who: str) -> None:
        self.noted.append((what, on, outcome))


def let_in(app: FastAPI, container: Any, caller: Caller = ADMIN) -> OnlyOne:
    """Make every request to the app come from this caller and use this application container."""
    app.state.container = container
    app.state.access = OnlyOne(caller)
    return app.state.access
