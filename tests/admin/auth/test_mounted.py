"""The service mounted in another app: links, redirects and the cookie have the prefix, and the guard protects every request."""

from __future__ import annotations

from dataclasses import replace

import httpx
import pytest
from fastapi import FastAPI

from tests.admin.auth.conftest import PASSWORD, World, csrf


@pytest.fixture
def mounted(world: World) -> World:
    """Return the world mounted at /ops of another app."""
    outer = FastAPI()
    outer.mount("/ops", world.app)
    world.person("ada", "admin")
    return replace(world, app=outer)


def signed_in(mounted: World) -> tuple[httpx.Client, httpx.Response]:
    """Sign ada in. Return the browser and the response to the sign-in."""
    browser = mounted.browser()
    return browser, browser.post(
        "/ops/pages/sign-in", data={"name": "ada", "password": PASSWORD, "next": "/pages/access"}
    )


def test_links_redirects_and_cookie_have_the_prefix(mounted: World) -> None:
    """The browser sends the cookie only to paths with the prefix."""
    assert mounted.browser().get("/ops/pages/access").headers["location"] == "/ops/pages/sign-in?next=/pages/access"
    assert 'action="/ops/pages/sign-in"' in mounted.browser().get("/ops/pages/sign-in").text
    browser, response = signed_in(mounted)
    assert response.headers["location"] == "/ops/pages/access" and "Path=/ops;" in response.headers["set-cookie"]
    page = browser.get("/ops/pages/access").text
    assert (
        'action="/ops/pages/sign-out"' in page and 'href="/ops/static/style.css"' in page and 'href="/pages' not in page
    )
    token = page.partition('name="csrf" value="')[2].partition('"')[0]
    signed_out = browser.post("/ops/pages/sign-out", data={"csrf": token})
    assert signed_out.headers["location"] == "/ops/pages/sign-in" and "Path=/ops;" in signed_out.headers["set-cookie"]
    assert browser.get("/ops/runs").status_code == 401


def test_the_guard_protects_a_mounted_service(mounted: World) -> None:
    """A request without sign-in is refused, also with an unusual spelling of the path."""
    browser = mounted.browser()
    for path in (
        "/ops/runs",
        "/ops/jobs",
        "/ops/access/log",
        "/ops/openapi.json",
        "/ops//runs",
        "/ops/./runs",
        "/ops/ops/runs",
    ):
        assert browser.get(path).status_code in (401, 404), path
    assert browser.get("/ops/runs").status_code == 401
    assert csrf(browser) == ""


def test_a_mounted_service_does_not_use_a_host_cookie(mounted: World) -> None:
    """A `__Host-` cookie must have the path /, so a mounted service uses the plain name, also with TLS."""
    mounted.base = "https://127.0.0.1"
    _, response = signed_in(mounted)
    cookie = response.headers["set-cookie"]
    assert cookie.startswith("slipway_session=") and "Secure" in cookie and "Path=/ops;" in cookie
