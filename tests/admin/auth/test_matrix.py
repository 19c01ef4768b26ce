"""Role × request, for every line of the table, asked through the real guard: who gets to the door, and who does not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from starlette.responses import Response
from starlette.types import Receive, Send
from starlette.types import Scope as ASGIScope

from slipway.accounts.grants import RIGHTS, Role
from slipway.admin.app import create_app
from slipway.admin.auth import guard as guard_module
from slipway.admin.auth.guard import Guard
from slipway.admin.auth.permissions import PERMISSIONS, Permission, Scope
from tests.admin.auth.conftest import OTHERS_RUN, RUN, World
from tests.admin.in_process import InProcess

MINE = {"run_id": str(RUN), "service": "shop", "change": "faster", "job": "ship-change", "name": "grace", "key": "k"}
OTHERS = MINE | {"run_id": str(OTHERS_RUN), "service": "bakery", "change": "bread"}
REACHED = 299  # what the door behind the guard answers
ROLES: list[tuple[Role, bool]] = [(role, scoped) for role in RIGHTS for scoped in (False, True)]
SCOPED = (Scope.SERVICE, Scope.CHANGE, Scope.RUN)


def asked(need: Permission, values: dict[str, str]) -> str:
    """A path of a request."""
    return need.path.replace("{path:path}", "style.css").format(**values)


@pytest.fixture
def ask(world: World) -> Any:
    """Ask as a role for all services or for shop alone, or as a stranger; the answer is the status."""

    async def door(scope: ASGIScope, receive: Receive, send: Send) -> None:
        await Response(status_code=REACHED)(scope, receive, send)

    guard = Guard(door, ["127.0.0.1"])

    async def app(scope: ASGIScope, receive: Receive, send: Send) -> None:
        await guard({**scope, "app": world.app}, receive, send)

    client = httpx.Client(transport=InProcess(app), base_url="http://127.0.0.1")
    world.browsers.append(client)
    keys = {who: world.token(f"{who[0]}.{who[1]}".lower(), who[0], ("shop",) if who[1] else None) for who in ROLES}

    def status(need: Permission, who: tuple[Role, bool] | None, values: dict[str, str]) -> int:
        headers = {"Origin": "http://127.0.0.1"} | ({"Authorization": f"Bearer {keys[who]}"} if who else {})
        return client.request(need.method, asked(need, values), headers=headers).status_code

    return status


def test_the_whole_matrix(ask: Any) -> None:
    """Each role gets to exactly the doors that its rights open, for its own services and for others."""
    wrong: list[str] = []
    for need, who, mine in cases():
        got = ask(need, who, MINE if mine else OTHERS)
        if got != (wanted := expected(need, who, mine)):
            wrong.append(f"{who} {need.method} {need.path} {'own' if mine else 'others'}: {got}, not {wanted}")
    assert wrong == []


def cases() -> Iterator[tuple[Permission, tuple[Role, bool] | None, bool]]:
    """Every line × every role (for all services, for one) and strangers × its own service and another."""
    whos: list[tuple[Role, bool] | None] = [None, *ROLES]
    yield from ((need, who, mine) for need in PERMISSIONS for who in whos for mine in (True, False))


def expected(need: Permission, who: tuple[Role, bool] | None, mine: bool) -> int:
    """What the table means, said once more without the guard's code."""
    if need.right is None:
        return REACHED
    if who is None:
        return 303 if need.path == "/" or need.path.startswith("/pages/") else 401
    role, scoped = who
    if need.right not in RIGHTS[role]:
        return 403
    if not scoped:
        return REACHED
    if need.scope is Scope.ALL:
        return 403
    return 404 if need.scope in SCOPED and not mine else REACHED


def test_what_has_no_line_is_refused(world: World) -> None:
    """A door that somebody forgot to put into the table is reached by nobody, an admin neither."""

    app = create_app()
    app.state.access, app.state.container = world.access, world.app.state.container

    @app.post("/forgotten")
    async def forgotten() -> dict[str, bool]:
        return {"reached": True}

    @app.delete("/runs/{run_id}")
    async def remove(run_id: str) -> dict[str, bool]:
        return {"reached": True}

    forgetful = replace(world, app=app)
    admin = forgetful.machine(world.token("root", "admin"))
    assert admin.post("/forgotten").status_code == 404
    refused = admin.delete(f"/runs/{RUN}")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET")
    assert refused.headers["content-type"] == "application/problem+json"
    assert forgetful.browser().post("/forgotten").status_code == 401


def test_another_host_name(world: World) -> None:
    """A page of another site that points its own name at our address gets nothing, not even /health."""
    browser = world.browser()
    assert browser.get("/health", headers={"Host": "localhost:8400"}).status_code == 200
    for host in ("evil.example", "127.0.0.1.evil.example", "", "127.0.0.1:x", "[::1]"):
        assert browser.get("/health", headers={"Host": host}).status_code == 400


def test_a_stream_ends_with_its_readers_rights(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is shown a run as it happens sees no more of it once their token is revoked."""
    monkeypatch.setattr(guard_module, "LOOKED_AGAIN_S", 0.01)
    heard: list[Any] = []

    async def stream(scope: ASGIScope, receive: Receive, send: Send) -> None:
        heard.append(await receive())
        world.access.tokens.revoke("robot")
        world.access.forget()
        heard.append(await receive())

    async def reader() -> Any:
        return {"type": "http.request"} if not heard else await asyncio.Event().wait()

    async def nothing(message: Any) -> None:
        pass

    async def look(key: str) -> None:
        headers = [(b"host", b"127.0.0.1"), (b"authorization", f"Bearer {key}".encode())]
        scope = {"type": "http", "method": "GET", "path": f"/runs/{RUN}/events", "headers": headers, "app": world.app}
        async with asyncio.timeout(120):
            await Guard(stream, ["127.0.0.1"])(scope, reader, nothing)

    asyncio.run(look(world.token("robot")))
    assert heard == [{"type": "http.request"}, {"type": "http.disconnect"}]


def test_a_websocket_is_closed(world: World) -> None:
    """No door speaks it, so nobody gets in that way."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(world.app({"type": "websocket", "path": "/runs", "headers": []}, None, send))  # type: ignore[arg-type]
    assert sent == [{"type": "websocket.close", "code": 1008}]
