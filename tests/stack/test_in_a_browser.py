"""People at the pages of the running stack, each in a real Chromium: start, watch, approve as another, cancel, roll back."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from benchmarks.browser import chromium
from slipway.accounts.accounts import Accounts
from slipway.accounts.grants import Grant, Role
from slipway.accounts.links import Links
from slipway.client.http import AdminClient
from slipway.deployments.stack import Stack
from slipway.runs.store import Store
from tests.browser import DESK, keep_picture, violations
from tests.paced import Paced
from tests.stack.runs import Run, finished

NAME, PASSWORD = "drop-in-a-browser", "correct horse battery"
A_WHILE = 300_000  # ms, for what a run does meanwhile
People = Callable[[str, Role], Page]


@pytest.fixture(scope="module")
def browser(require: Callable[[str], None]) -> Iterator[Browser]:
    """One browser for this file."""
    require("chromium")
    expect.set_options(timeout=120_000)
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def people(browser: Browser, stack: Stack) -> People:
    """New people who choose their password by a one-time link, and are signed in then."""

    def come(name: str, role: Role) -> Page:
        with closing(Store(stack.environment["SLIPWAY_DATABASE_URL"])) as store:
            Accounts(store).add(name, Grant(role=role), by="a test")
            key = Links(store).make(name)
        page = browser.new_context(base_url=stack.admin_url, viewport=DESK).new_page()  # type: ignore[arg-type]
        page.set_default_timeout(120_000)
        page.goto(f"/pages/link/{key}")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_label("The same again").fill(PASSWORD)
        page.get_by_role("button", name="Choose it").click()
        expect(page.get_by_role("heading", name="Overview")).to_be_visible()
        return page

    return come


@pytest.fixture(scope="module")
def asker(people: People) -> Page:
    """Somebody who operates services."""
    return people("olga", "operator")


@pytest.fixture(scope="module")
def change(changes: Path) -> str:
    """The change that drops an index in use, with an approval, on the service that is measured for a shorter time."""
    without = shutil.ignore_patterns("record.md", "*.svg")
    shutil.copytree(changes / "drop-open-orders-index", changes / NAME, ignore=without)
    file = changes / NAME / "change.toml"
    text = file.read_text(encoding="utf-8").replace('"shop"', '"shop-quick"') + 'on_inconclusive = "roll back"\n'
    file.write_text('approval = "required"\n' + text, encoding="utf-8")
    return NAME


def test_shipped_watched_and_approved_by_another(
    at_0008: None, change: str, asker: Page, people: People, client: AdminClient
) -> None:
    """A person ships with a typed name and watches; another one approves; the page tells the end without a reload."""
    asker.goto(f"/pages/changes/{change}")
    asker.get_by_role("button", name="Ship…").click()
    asker.get_by_label(f"Type {change} to go on").fill(change)
    asker.get_by_role("button", name="Start ship-change").click()
    asker.wait_for_url("**/pages/runs/*")
    expect(asker.get_by_text("It waits for an approval.")).to_be_visible(timeout=A_WHILE)
    assert asker.get_by_role("link", name="Approve…").count() == 0
    keep_picture(asker, "stack-waits")

    other = people("gwen", "approver")
    other.get_by_role("link", name=change).click()
    other.get_by_role("link", name="Approve…").click()
    other.get_by_label("Why").fill("the copy came back whole")
    assert violations(other) == []
    other.get_by_role("button", name="Approve").click()
    expect(asker.locator(".steps")).to_contain_text("migrate", timeout=A_WHILE)
    expect(asker.locator(".banner")).to_contain_text("Rolled back", timeout=A_WHILE)
    expect(asker.get_by_role("heading", name="Decision: roll back")).to_be_visible()
    expect(asker.get_by_text("approved by gwen: the copy came back whole")).to_be_visible()
    expect(asker.get_by_role("img", name="Latency before and after")).to_be_visible()
    assert violations(asker) == []
    keep_picture(asker, "stack-rolled-back")
    finished(client, client.run(asker.url.rpartition("/")[2]))


def test_started_by_its_form_and_cancelled(asker: Page, front: Paced) -> None:
    """A measurement is started by its form, seen at work, and cancelled with a reason; who did it stands there."""
    asker.goto("/pages/jobs/measure-service")
    asker.get_by_label("Service").select_option("shop")
    with front.hold("/account", signed_in=True):  # the page that shows the sign-in
        asker.get_by_role("button", name="Start").click()
        expect(asker.locator(".at-work")).to_contain_text("measure service", timeout=A_WHILE)
        asker.get_by_role("link", name="Cancel…").click()
        asker.get_by_label("Why").fill("the wrong service")
        asker.get_by_role("button", name="Cancel").click()
        asker.wait_for_url(lambda url: not url.endswith("/cancel"))
    expect(asker.locator(".banner")).to_contain_text("Cancelled by olga: the wrong service.", timeout=A_WHILE)


@pytest.fixture(scope="module")
def refreshed(at_0008: None, ship: Callable[[str], Run]) -> Run:
    """A run that refreshed a page, and was kept."""
    return ship("refresh-catalogue")


def test_rolled_back_with_the_typed_name(refreshed: Run, asker: Page) -> None:
    """A kept change is rolled back from its run's page: another name is refused, its own starts the way back."""
    asker.goto(f"/pages/runs/{refreshed['id']}")
    asker.get_by_role("link", name="Roll back…").click()
    asker.get_by_label(re.compile("^Type refresh-catalogue")).fill("shop")
    asker.get_by_role("button", name="Roll back").click()
    expect(asker.get_by_text("This is another name.")).to_be_visible()
    asker.get_by_label(re.compile("^Type refresh-catalogue")).fill("refresh-catalogue")
    asker.get_by_role("button", name="Roll back").click()
    asker.wait_for_url(lambda url: refreshed["id"] not in url)
    expect(asker.locator(".banner")).to_contain_text("Rolled back", timeout=A_WHILE)
