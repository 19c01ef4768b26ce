"""The service below another app: links, redirects and the cookie stay below it, and the guard stands before it all the same."""

from __future__ import annotations

from dataclasses import replace

import httpx
import pytest
from fastapi import FastAPI

from tests.admin.auth.conftest import PASSWORD, World, csrf


@pytest.fixture
def mounted(world: World) -> World:
    """The world below /ops of another app."""
    outer = FastAPI()
    outer.mount("/ops", world.app)
    world.person("ada", "admin")
    return replace(world, app=outer)


def signed_in(mounted: World) -> tuple[httpx.Client, httpx.Response]:
    """A browser of ada's, and how the sign-in was answered."""
    browser = mounted.browser()
    return browser, browser.post(
        "/ops/pages/sign-in", data={"name": "ada", "password": PASSWORD, "next": "/pages/access"}
    )


def test_the_way_in_and_out(mounted: World) -> None:
    """Every address has the prefix, and the browser sends the cookie nowhere else."""
    assert mounted.browser().get("/ops/pages/access").headers["location"] == "/ops/pages/sign-in?next=/pages/access"
    assert 'action="/ops/pages/sign-in"' in mounted.browser().get("/ops/pages/sign-in").text
    browser, answer = signed_in(mounted)
    assert answer.headers["location"] == "/ops/pages/access" and "Path=/ops;" in answer.headers["set-cookie"]
    page = browser.get("/ops/pages/access").text
    assert (
        'action="/ops/pages/sign-out"' in page and 'href="/ops/static/style.css"' in page and 'href="/pages' not in page
    )
    token = page.partition('name="csrf" value="')[2].partition('"')[0]
    gone = browser.post("/ops/pages/sign-out", data={"csrf": token})
    assert gone.headers["location"] == "/ops/pages/sign-in" and "Path=/ops;" in gone.headers["set-cookie"]
    assert browser.get("/ops/runs").status_code == 401


def test_the_guard_stands_there_too(mounted: World) -> None:
    """Neither a stranger nor a path that is written otherwise gets past it."""
    stranger = mounted.browser()
    for path in (
        "/ops/runs",
        "/ops/jobs",
        "/ops/access/log",
        "/ops/openapi.json",
        "/ops//runs",
        "/ops/./runs",
        "/ops/ops/runs",
    ):
        assert stranger.get(path).status_code in (401, 404), path
    assert stranger.get("/ops/runs").status_code == 401
    assert csrf(stranger) == ""


def test_no_host_cookie_below_another(mounted: World) -> None:
    """A `__Host-` cookie has to have the path /, so below another app it has not that name, with TLS neither."""
    mounted.base = "https://127.0.0.1"
    _, answer = signed_in(mounted)
    written = answer.headers["set-cookie"]
    assert written.startswith("slipway_session=") and "Secure" in written and "Path=/ops;" in written
