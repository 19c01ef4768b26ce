"""Requests that another site makes a browser send."""

from __future__ import annotations

import httpx
import pytest

from slipway.admin.auth.csrf import LONGEST
from tests.admin.auth.conftest import PASSWORD, RUN, World, csrf

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def browser(world: World) -> httpx.Client:
    """An admin's browser, whose requests say nothing about where they come from."""
    made = world.signed_in("ada", "admin")
    del made.headers["Origin"]
    return made


def disable(browser: httpx.Client, token: str | None, **headers: str) -> int:
    """Send the form that disables grace."""
    data = {"do": "disable"} | ({"csrf": token} if token is not None else {})
    return browser.post("/pages/access/people/grace", data=data, headers=headers).status_code


def test_a_form_needs_its_sessions_token(world: World, browser: httpx.Client) -> None:
    """Without it, with another session's or a made-up one it is refused, and nothing is done."""
    world.person("grace")
    others = csrf(world.signed_in("other", "admin"))
    for token in (None, "", "made up", others, "ä"):
        assert disable(browser, token) == 403
        assert disable(browser, token, Origin=world.base) == 403
    assert world.access.accounts.find("grace").disabled_at is None
    assert disable(browser, csrf(browser)) == 303
    assert world.access.accounts.find("grace").disabled_at is not None


def test_twice_the_field_is_no_token(world: World, browser: httpx.Client) -> None:
    """What could be read in two ways is refused."""
    body = f"do=disable&csrf={csrf(browser)}&csrf=x"
    assert browser.post("/pages/access/people/grace", content=body, headers=FORM).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1"},
    ],
)
def test_another_origin_is_refused_whatever_it_carries(
    world: World, browser: httpx.Client, headers: dict[str, str]
) -> None:
    """A token that leaked does not help another site; a sign-in from there does not sign anybody in either."""
    world.person("grace")
    assert disable(browser, csrf(browser), **headers) == 403
    form = {"name": "grace", "password": PASSWORD}
    stranger = world.browser(**headers)
    assert stranger.post("/pages/sign-in", data=form).status_code == 403
    assert browser.post(f"/runs/{RUN}/cancel", json={"why": "no"}, headers=headers).status_code == 403


def test_json_by_cookie_proves_where_it_comes_from(browser: httpx.Client) -> None:
    """By the browser's own headers, or the token in a header; a program with a token of its own needs neither."""
    path, body = f"/runs/{RUN}/nothing", {"why": "no"}
    proofs = ({"Origin": "http://127.0.0.1"}, {"Sec-Fetch-Site": "same-origin"}, {"X-CSRF-Token": csrf(browser)})
    cancel = f"/runs/{RUN}/cancel"
    assert browser.post(path, json=body).status_code == 404  # no such request: refused before
    assert browser.post(cancel, json=body).status_code == 403
    assert browser.post(cancel, json=body, headers={"X-CSRF-Token": "made up"}).status_code == 403
    assert all(browser.post(cancel, json={}, headers=proof).status_code == 422 for proof in proofs)  # the door's own no


def test_a_machine_needs_no_proof(world: World) -> None:
    """Nothing makes a program send its token."""
    machine = world.machine(world.token("robot", "operator"))
    assert machine.post(f"/runs/{RUN}/cancel", json={}).status_code == 422


def test_signing_in_proves_where_it_comes_from(world: World) -> None:
    """Nobody is signed in as somebody else without noticing."""
    world.person("ada")
    browser = world.browser()
    del browser.headers["Origin"]
    assert browser.post("/pages/sign-in", data={"name": "ada", "password": PASSWORD}).status_code == 403


def test_reading_changes_nothing(world: World, browser: httpx.Client) -> None:
    """What a link can reach needs no token, and a HEAD is no way around one."""
    assert browser.get("/runs", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200
    assert browser.head("/pages/access/people").status_code == 405


def test_a_form_is_bounded(world: World, browser: httpx.Client) -> None:
    """Nobody fills the memory with a form, a stranger at the sign-in neither."""
    big = "x" * (LONGEST + 1)
    assert browser.post("/pages/access/people", content=big, headers=FORM).status_code == 413
    assert world.browser().post("/pages/sign-in", content=big, headers=FORM).status_code == 413
