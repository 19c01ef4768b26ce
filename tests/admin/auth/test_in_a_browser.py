"""Sign-in, lockout and invitations in a real Chromium with a real store."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from benchmarks.browser import chromium
from slipway.accounts.links import Links
from slipway.accounts.lockout import ALLOWED_PER_ACCOUNT
from tests.admin.auth.conftest import PASSWORD, World
from tests.admin.serving import serving
from tests.browser import PHONE, keep_picture, new_context, violations, wider_than_the_window


@pytest.fixture(scope="module")
def browser(require: Callable[[str], None]) -> Iterator[Browser]:
    """Return one browser for this file."""
    require("chromium")
    with chromium() as opened:
        yield opened


@pytest.fixture
def page(browser: Browser, world: World) -> Iterator[Page]:
    """Return a browser page of the served app."""
    with serving(world.app) as address:
        context = new_context(browser, base_url=address)
        yield context.new_page()
        context.close()


def check_page(page: Page, name: str) -> None:
    """Check accessibility and layout of the page in light mode, in dark mode and on a phone."""
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
    """Fill in and send the sign-in form, and wait for the next page."""
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill(password)
    with page.expect_event("load"):
        page.get_by_role("button", name="Sign in").click()


def test_wrong_passwords_lock_the_account_for_a_while(page: Page, world: World) -> None:
    """A visitor is redirected to the form; wrong passwords lock the account; later the right password opens the page."""
    world.person("ada", "admin")
    page.goto("/pages/access")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    check_page(page, "sign-in")
    for _ in range(ALLOWED_PER_ACCOUNT):
        sign_in(page, "not the password")
        expect(page.get_by_text("The name or the password is wrong.")).to_be_visible()
    sign_in(page, PASSWORD)
    expect(page.get_by_text("There were too many failed sign-ins.")).to_be_visible()
    world.clock.advance(minutes=30)
    sign_in(page, PASSWORD)
    expect(page.get_by_role("heading", name="Access")).to_be_visible()
    check_page(page, "access")


def test_an_admin_invites_a_person_and_signs_out(page: Page, world: World) -> None:
    """An admin chooses a password, invites a person, sees the one-time link once, and signs out."""
    world.person("ada", "admin")
    page.goto(f"/pages/link/{Links(world.store).make('ada')}")
    check_page(page, "choose-a-password")
    page.get_by_label("Password, at least").fill(PASSWORD)
    page.get_by_label("Repeat the password").fill(PASSWORD)
    page.get_by_role("button", name="Set password").click()
    page.wait_for_url("**/")  # the answer has set the cookie of the session
    page.goto("/pages/access")
    page.get_by_text("Invite a user").click()
    page.locator("#invited").fill("grace")
    page.get_by_role("button", name="Create account").click()
    expect(page.get_by_text("This is shown only once.")).to_be_visible()
    check_page(page, "invited")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.goto("/pages/access")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
