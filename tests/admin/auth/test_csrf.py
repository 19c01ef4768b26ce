"""Cross-site request forgery: requests that another site makes a browser send."""

from __future__ import annotations

import httpx
import pytest

from slipway.admin.auth.csrf import MAX_FORM_BYTES
from tests.admin.auth.conftest import PASSWORD, RUN, World, csrf

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def browser(world: World) -> httpx.Client:
    """Return an admin's browser whose requests have no Origin header."""
    browser = world.signed_in("ada", "admin")
    del browser.headers["Origin"]
    return browser


def disable(browser: httpx.Client, token: str | None, **headers: str) -> int:
    """Send the form that disables the account grace."""
    data = {"do": "disable"} | ({"csrf": token} if token is not None else {})
    return browser.post("/pages/access/people/grace", data=data, headers=headers).status_code


def test_a_form_needs_the_csrf_token_of_its_session(world: World, browser: httpx.Client) -> None:
    """A form without a token, with an invented token, or with the token of another session is refused and has no effect."""
    world.person("grace")
    other_token = csrf(world.signed_in("other", "admin"))
    for token in (None, "", "made up", other_token, "ä"):
        assert disable(browser, token) == 403
        assert disable(browser, token, Origin=world.base) == 403
    assert world.access.accounts.find("grace").disabled_at is None
    assert disable(browser, csrf(browser)) == 303
    assert world.access.accounts.find("grace").disabled_at is not None


def test_a_form_with_two_csrf_fields_is_refused(world: World, browser: httpx.Client) -> None:
    """An ambiguous form is refused, even if one of its tokens is valid."""
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
def test_another_origin_is_refused_even_with_a_valid_token(
    world: World, browser: httpx.Client, headers: dict[str, str]
) -> None:
    """A leaked token does not help another site. A sign-in from another site is refused, too."""
    world.person("grace")
    assert disable(browser, csrf(browser), **headers) == 403
    form = {"name": "grace", "password": PASSWORD}
    visitor = world.browser(**headers)
    assert visitor.post("/pages/sign-in", data=form).status_code == 403
    assert browser.post(f"/runs/{RUN}/cancel", json={"why": "no"}, headers=headers).status_code == 403


def test_json_with_a_cookie_needs_an_origin_header_or_the_csrf_token(browser: httpx.Client) -> None:
    """The browser's own headers or the CSRF token in a header are accepted."""
    path, body = f"/runs/{RUN}/nothing", {"why": "no"}
    proofs = ({"Origin": "http://127.0.0.1"}, {"Sec-Fetch-Site": "same-origin"}, {"X-CSRF-Token": csrf(browser)})
    cancel = f"/runs/{RUN}/cancel"
    assert browser.post(path, json=body).status_code == 404  # unknown path: refused before the CSRF check
    assert browser.post(cancel, json=body).status_code == 403
    assert browser.post(cancel, json=body, headers={"X-CSRF-Token": "made up"}).status_code == 403
    assert all(
        browser.post(cancel, json={}, headers=proof).status_code == 422 for proof in proofs
    )  # 422 is the endpoint's own answer


def test_a_request_with_an_api_token_needs_no_csrf_token(world: World) -> None:
    """No other site can make a program send its API token."""
    machine = world.machine(world.token("robot", "operator"))
    assert machine.post(f"/runs/{RUN}/cancel", json={}).status_code == 422


def test_a_sign_in_needs_an_origin_header(world: World) -> None:
    """Another site cannot sign a person in to another account unnoticed."""
    world.person("ada")
    browser = world.browser()
    del browser.headers["Origin"]
    assert browser.post("/pages/sign-in", data={"name": "ada", "password": PASSWORD}).status_code == 403


def test_reads_need_no_csrf_token(world: World, browser: httpx.Client) -> None:
    """A GET from another site is answered. HEAD does not reach an endpoint that needs a token."""
    assert browser.get("/runs", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200
    assert browser.head("/pages/access/people").status_code == 405


def test_a_form_that_is_too_large_is_refused(world: World, browser: httpx.Client) -> None:
    """No caller can fill the memory with a form, not even without a sign-in."""
    body = "x" * (MAX_FORM_BYTES + 1)
    assert browser.post("/pages/access/people", content=body, headers=FORM).status_code == 413
    assert world.browser().post("/pages/sign-in", content=body, headers=FORM).status_code == 413
