"""Users of the running stack's pages, each in a real Chromium: start, watch, approve, cancel, roll back."""

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
from tests.paced import LatencyProxy
from tests.stack.runs import Run, finished

NAME, PASSWORD = "drop-in-a-browser", "correct horse battery"
RUN_TIMEOUT_MS = 300_000  # ms, for the steps of a run
People = Callable[[str, Role], Page]


@pytest.fixture(scope="module")
def browser(require: Callable[[str], None]) -> Iterator[Browser]:
    """Yield one browser for this file."""
    require("chromium")
    expect.set_options(timeout=120_000)
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def people(browser: Browser, stack: Stack) -> People:
    """Return a function that signs a new user in: the user chooses a password with a one-time link."""

    def sign_in(name: str, role: Role) -> Page:
        with closing(Store(stack.environment["SLIPWAY_DATABASE_URL"])) as store:
            Accounts(store).add(name, Grant(role=role), by="a test")
            key = Links(store).make(name)
        page = browser.new_context(base_url=stack.admin_url, viewport=DESK).new_page()  # type: ignore[arg-type]
        page.set_default_timeout(120_000)
        page.goto(f"/pages/link/{key}")
        page.get_by_label("Password, at least").fill(PASSWORD)
        page.get_by_label("Repeat the password").fill(PASSWORD)
        page.get_by_role("button", name="Set password").click()
        expect(page.get_by_role("heading", name="Overview")).to_be_visible()
        return page

    return sign_in


@pytest.fixture(scope="module")
def operator(people: People) -> Page:
    """Return the page of a user with the role operator."""
    return people("olga", "operator")


@pytest.fixture(scope="module")
def change(changes: Path) -> str:
    """Create a change that drops an index in use and needs approval, for a service with short windows."""
    without = shutil.ignore_patterns("record.md", "*.svg")
    shutil.copytree(changes / "drop-open-orders-index", changes / NAME, ignore=without)
    file = changes / NAME / "change.toml"
    text = file.read_text(encoding="utf-8").replace('"shop"', '"shop-quick"') + 'on_inconclusive = "roll back"\n'
    file.write_text('approval = "required"\n' + text, encoding="utf-8")
    return NAME


def test_another_user_approves_a_shipment_in_the_browser(
    at_0008: None, change: str, operator: Page, people: People, client: AdminClient
) -> None:
    """A user ships with a typed name and watches. Another user approves. The page shows the end without a reload."""
    operator.goto(f"/pages/changes/{change}")
    operator.get_by_role("button", name="Ship…").click()
    operator.get_by_label(f"Type {change} to confirm").fill(change)
    operator.get_by_role("button", name="Start ship-change").click()
    operator.wait_for_url("**/pages/runs/*")
    expect(operator.get_by_text("Waiting for approval.")).to_be_visible(timeout=RUN_TIMEOUT_MS)
    assert operator.get_by_role("link", name="Approve…").count() == 0
    keep_picture(operator, "stack-waits")

    other = people("gwen", "approver")
    other.get_by_role("link", name=change).click()
    other.get_by_role("link", name="Approve…").click()
    other.get_by_label("Why").fill("the copy came back whole")
    assert violations(other) == []
    other.get_by_role("button", name="Approve").click()
    expect(operator.locator(".steps")).to_contain_text("migrate", timeout=RUN_TIMEOUT_MS)
    expect(operator.locator(".banner")).to_contain_text("Rolled back", timeout=RUN_TIMEOUT_MS)
    expect(operator.get_by_role("heading", name="Decision: roll back")).to_be_visible()
    expect(operator.get_by_text("approved by gwen: the copy came back whole")).to_be_visible()
    expect(operator.get_by_role("img", name="Latency before and after")).to_be_visible()
    assert violations(operator) == []
    keep_picture(operator, "stack-rolled-back")
    finished(client, client.run(operator.url.rpartition("/")[2]))


def test_a_measurement_is_started_and_cancelled_in_the_browser(operator: Page, front: LatencyProxy) -> None:
    """A measurement is started with its form, shown while it runs, and cancelled with a reason. The page names the user."""
    operator.goto("/pages/jobs/measure-service")
    operator.get_by_label("Service").select_option("shop")
    with front.hold("/account", signed_in=True):  # the page that shows the sign-in
        operator.get_by_role("button", name="Start").click()
        expect(operator.locator(".at-work")).to_contain_text("measure service", timeout=RUN_TIMEOUT_MS)
        operator.get_by_role("link", name="Cancel…").click()
        operator.get_by_label("Why").fill("the wrong service")
        operator.get_by_role("button", name="Cancel").click()
        operator.wait_for_url(lambda url: not url.endswith("/cancel"))
    expect(operator.locator(".banner")).to_contain_text("Cancelled by olga: the wrong service.", timeout=RUN_TIMEOUT_MS)


@pytest.fixture(scope="module")
def refreshed(at_0008: None, ship: Callable[[str], Run]) -> Run:
    """Return the run of a refreshed page that was kept."""
    return ship("refresh-catalogue")


def test_a_rollback_needs_the_typed_name(refreshed: Run, operator: Page) -> None:
    """A kept change is rolled back from its run's page. A wrong typed name is refused, the right one starts the rollback."""
    operator.goto(f"/pages/runs/{refreshed['id']}")
    operator.get_by_role("link", name="Roll back…").click()
    operator.get_by_label(re.compile("^Type refresh-catalogue")).fill("shop")
    operator.get_by_role("button", name="Roll back").click()
    expect(operator.get_by_text("The name does not match.")).to_be_visible()
    operator.get_by_label(re.compile("^Type refresh-catalogue")).fill("refresh-catalogue")
    operator.get_by_role("button", name="Roll back").click()
    operator.wait_for_url(lambda url: refreshed["id"] not in url)
    expect(operator.locator(".banner")).to_contain_text("Rolled back", timeout=RUN_TIMEOUT_MS)
