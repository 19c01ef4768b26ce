"""Signing in, being locked out, and giving access, in a real Chromium over a real store."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from benchmarks.browser import chromium
from slipway.accounts.links import Links
from slipway.accounts.lockout import FREE_OF_ACCOUNT
from tests.admin.auth.conftest import PASSWORD, World
from tests.admin.serving import serving
from tests.browser import PHONE, keep_picture, new_context, violations, wider_than_the_window


@pytest.fixture(scope="module")
def browser(require: Callable[[str], None]) -> Iterator[Browser]:
    """One browser for this file."""
    require("chromium")
    with chromium() as opened:
        yield opened


@pytest.fixture
def page(browser: Browser, world: World) -> Iterator[Page]:
    """A window onto the app."""
    with serving(world.app) as address:
        context = new_context(browser, base_url=address)
        yield context.new_page()
        context.close()


def looked_at(page: Page, name: str) -> None:
    """Nothing is wrong with the page for anybody, in light, in dark and on a phone."""
    keep_picture(page, f"{name}-light")
    assert violations(page) == []
    page.emulate_media(color_scheme="dark")
    assert violations(page, "color-contrast") == []
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    assert wider_than_the_window(page) == 0
    keep_picture(page, f"{name}-phone")
    page.set_viewport_size({"width": 1280, "height": 900})


def sign_in(page: Page, password: str) -> None:
    """Fill the form in, send it, and wait for the page that answers it."""
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill(password)
    with page.expect_event("load"):
        page.get_by_role("button", name="Sign in").click()


def test_locked_out_and_let_in(page: Page, world: World) -> None:
    """A stranger is led to the form; wrong passwords lock the account for a while; then the right one leads on."""
    world.person("ada", "admin")
    page.goto("/pages/access")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    looked_at(page, "sign-in")
    for _ in range(FREE_OF_ACCOUNT):
        sign_in(page, "not the password")
        expect(page.get_by_text("The name or the password is wrong.")).to_be_visible()
    sign_in(page, PASSWORD)
    expect(page.get_by_text("There were too many tries that failed.")).to_be_visible()
    world.clock.forward(minutes=30)
    sign_in(page, PASSWORD)
    expect(page.get_by_role("heading", name="Access")).to_be_visible()
    looked_at(page, "access")


def test_invited_and_signed_out(page: Page, world: World) -> None:
    """An admin invites somebody on the page; the one-time link is shown once; and then it is over."""
    world.person("ada", "admin")
    page.goto(f"/pages/link/{Links(world.store).make('ada')}")
    looked_at(page, "choose-a-password")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_label("The same again").fill(PASSWORD)
    page.get_by_role("button", name="Choose it").click()
    page.wait_for_url("**/")  # the answer has set the cookie of the session
    page.goto("/pages/access")
    page.get_by_text("Invite somebody").click()
    page.locator("#invited").fill("grace")
    page.get_by_role("button", name="Make an account").click()
    expect(page.get_by_text("It is shown only now.")).to_be_visible()
    looked_at(page, "invited")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.goto("/pages/access")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
