"""Every role × every entry of the permission table, through the real guard: which requests reach the endpoint."""

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

OWN = {"run_id": str(RUN), "service": "shop", "change": "faster", "job": "ship-change", "name": "grace", "key": "k"}
OTHERS = OWN | {"run_id": str(OTHERS_RUN), "service": "bakery", "change": "bread"}
REACHED = 299  # the status of the endpoint behind the guard
ROLES: list[tuple[Role, bool]] = [(role, scoped) for role in RIGHTS for scoped in (False, True)]
SCOPED = (Scope.SERVICE, Scope.CHANGE, Scope.RUN)


def path_of(permission: Permission, values: dict[str, str]) -> str:
    """Return the path of a request."""
    return permission.path.replace("{path:path}", "style.css").format(**values)


@pytest.fixture
def send_as(world: World) -> Any:
    """Return a function that sends a request with a role (for all services or for shop) or without a token.

    The function returns the status.
    """

    async def endpoint(scope: ASGIScope, receive: Receive, send: Send) -> None:
        await Response(status_code=REACHED)(scope, receive, send)

    guard = Guard(endpoint, ["127.0.0.1"])

    async def app(scope: ASGIScope, receive: Receive, send: Send) -> None:
        await guard({**scope, "app": world.app}, receive, send)

    client = httpx.Client(transport=InProcess(app), base_url="http://127.0.0.1")
    world.browsers.append(client)
    keys = {
        grant: world.token(f"{grant[0]}.{grant[1]}".lower(), grant[0], ("shop",) if grant[1] else None)
        for grant in ROLES
    }

    def status(permission: Permission, grant: tuple[Role, bool] | None, values: dict[str, str]) -> int:
        headers = {"Origin": "http://127.0.0.1"} | ({"Authorization": f"Bearer {keys[grant]}"} if grant else {})
        return client.request(permission.method, path_of(permission, values), headers=headers).status_code

    return status


def test_each_role_reaches_exactly_the_permitted_endpoints(send_as: Any) -> None:
    """The rights hold for the own service, and other services are refused or hidden."""
    wrong: list[str] = []
    for permission, grant, own in cases():
        status = send_as(permission, grant, OWN if own else OTHERS)
        if status != (expected := expected_status(permission, grant, own)):
            wrong.append(
                f"{grant} {permission.method} {permission.path} {'own' if own else 'others'}: {status}, not {expected}"
            )
    assert wrong == []


def cases() -> Iterator[tuple[Permission, tuple[Role, bool] | None, bool]]:
    """Yield every entry × every role (for all services, for one service) and no caller × the own and another service."""
    grants: list[tuple[Role, bool] | None] = [None, *ROLES]
    yield from ((permission, grant, own) for permission in PERMISSIONS for grant in grants for own in (True, False))


def expected_status(permission: Permission, grant: tuple[Role, bool] | None, own: bool) -> int:
    """Return the status that the table requires, computed without the guard's code."""
    if permission.right is None:
        return REACHED
    if grant is None:
        return 303 if permission.path == "/" or permission.path.startswith("/pages/") else 401
    role, scoped = grant
    if permission.right not in RIGHTS[role]:
        return 403
    if not scoped:
        return REACHED
    if permission.scope is Scope.ALL:
        return 403
    return 404 if permission.scope in SCOPED and not own else REACHED


def test_requests_without_a_permission_entry_are_refused(world: World) -> None:
    """An endpoint that is missing in the table is refused to all callers, including admins."""

    app = create_app()
    app.state.access, app.state.container = world.access, world.app.state.container

    @app.post("/forgotten")
    async def forgotten() -> dict[str, bool]:
        return {"reached": True}

    @app.delete("/runs/{run_id}")
    async def remove(run_id: str) -> dict[str, bool]:
        return {"reached": True}

    changed_world = replace(world, app=app)
    admin = changed_world.machine(world.token("root", "admin"))
    assert admin.post("/forgotten").status_code == 404
    refused = admin.delete(f"/runs/{RUN}")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET")
    assert refused.headers["content-type"] == "application/problem+json"
    assert changed_world.browser().post("/forgotten").status_code == 401


def test_unknown_host_names_are_refused(world: World) -> None:
    """Another site that points its own name at our address cannot even read /health (DNS rebinding)."""
    browser = world.browser()
    assert browser.get("/health", headers={"Host": "localhost:8400"}).status_code == 200
    for host in ("evil.example", "127.0.0.1.evil.example", "", "127.0.0.1:x", "[::1]"):
        assert browser.get("/health", headers={"Host": host}).status_code == 400


def test_a_stream_ends_when_its_token_is_revoked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard checks the caller again while a stream is open."""
    monkeypatch.setattr(guard_module, "RECHECK_S", 0.01)
    received: list[Any] = []

    async def stream(scope: ASGIScope, receive: Receive, send: Send) -> None:
        received.append(await receive())
        world.access.tokens.revoke("robot")
        world.access.clear_cache()
        received.append(await receive())

    async def reader() -> Any:
        return {"type": "http.request"} if not received else await asyncio.Event().wait()

    async def nothing(message: Any) -> None:
        pass

    async def read_events(key: str) -> None:
        headers = [(b"host", b"127.0.0.1"), (b"authorization", f"Bearer {key}".encode())]
        scope = {"type": "http", "method": "GET", "path": f"/runs/{RUN}/events", "headers": headers, "app": world.app}
        async with asyncio.timeout(120):
            await Guard(stream, ["127.0.0.1"])(scope, reader, nothing)

    asyncio.run(read_events(world.token("robot")))
    assert received == [{"type": "http.request"}, {"type": "http.disconnect"}]


def test_a_websocket_is_closed(world: World) -> None:
    """No endpoint supports WebSocket."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(world.app({"type": "websocket", "path": "/runs", "headers": []}, None, send))  # type: ignore[arg-type]
    assert sent == [{"type": "websocket.close", "code": 1008}]
