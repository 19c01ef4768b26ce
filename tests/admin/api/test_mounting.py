"""The example admin that includes the service as a router."""

from __future__ import annotations

import asyncio
import re
import runpy
import sys
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from slipway.accounts.grants import Grant
from slipway.accounts.tokens import Tokens
from slipway.runs.store import Store
from tests.admin.api.served import problem

EXAMPLE = Path(__file__).parents[3] / "examples" / "mounted" / "back_office.py"
OF_THE_OTHER_APP_S = 0.007


def test_slipway_works_inside_another_app(settings: None, store: Store) -> None:
    """The router starts and stops with the other app, answers below its prefix with its own sign-in, and changes no more."""
    key, _ = Tokens(store).make("mounted", Grant(role="admin"), timedelta(days=1), account="ada")
    before = sys.getswitchinterval()
    sys.setswitchinterval(OF_THE_OTHER_APP_S)
    try:
        asyncio.run(_ask(key))
    finally:
        sys.setswitchinterval(before)


async def _ask(key: str) -> None:
    app = runpy.run_path(str(EXAMPLE))["app"]
    as_ada = {"Authorization": f"Bearer {key}"}
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client,
    ):
        assert sys.getswitchinterval() == pytest.approx(OF_THE_OTHER_APP_S)
        assert (await client.get("/orders/today")).json() == {"orders": 17}
        assert (await client.get("/orders/tomorrow")).json() == {"detail": "Not Found"}
        assert (await client.get("/slipway/health")).json() == {"ok": True}
        problem(await client.get("/slipway/runs"), 401)
        problem(await client.get("/slipway/nothing", headers=as_ada), 404)
        started = await client.post("/slipway/jobs/look-around/runs", json={}, headers=as_ada)
        where = started.headers["location"]
        assert where == f"/slipway/runs/{started.json()['id']}"
        assert (await client.get(where, headers=as_ada)).json()["asked_by"] == "ada"
        for path in ("/slipway/", f"/slipway/pages{where.removeprefix('/slipway')}", "/slipway/pages/sign-in"):
            page = (await client.get(path, headers=as_ada)).text
            own = re.findall(r'(?:href|src|action|hx-get)="(/[^"]*)"', page)
            assert own and all(path.startswith("/slipway/") for path in own), own
        assert (await client.get("/slipway/static/style.css")).status_code == 200
        assert list((await client.get("/openapi.json")).json()["paths"]) == ["/orders/today"]
