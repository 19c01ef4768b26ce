"""The pages in a real Chromium with sample runs: appearance, live updates, keyboard use, and accessibility checks with axe."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from playwright.sync_api import Browser, Page, expect

from benchmarks.browser import chromium
from slipway.admin.app import create_app
from tests.admin.made_up import CHANGE, STARTED, MadeUp
from tests.admin.scenes import BY_IDS, lively, run
from tests.admin.serving import serving
from tests.admin.signed_in import let_in
from tests.browser import DESK, PHONE, keep_picture, new_context, violations, wider_than_the_window

PAGES = {
    "overview": "/",
    "services": "/pages/services",
    "service": "/pages/services/shop",
    "runs": "/pages/runs?since=ever",
    "jobs": "/pages/jobs",
    "job": "/pages/jobs/warm-up",
    "job-ship": "/pages/jobs/ship-change",
    "changes": "/pages/changes",
    "change": f"/pages/changes/{CHANGE}",
    **{f"run-{name}": f"/pages/runs/{run_id}" for name, run_id in BY_IDS.items()},
    "log": f"/pages/runs/{BY_IDS['shipping']}/logs",
    "approve": f"/pages/runs/{BY_IDS['waits']}/approve",
    "roll-back": f"/pages/runs/{BY_IDS['kept']}/rollback",
    "not-there": "/pages/nothing",
}


@pytest.fixture(scope="module")
def browser(require: Callable[[str], None]) -> Iterator[Browser]:
    """One browser for this file."""
    require("chromium")
    with chromium() as opened:
        yield opened


@pytest.fixture
def container(tmp_path: Path) -> MadeUp:
    """The admin services with one run of each kind."""
    return lively(tmp_path)


@pytest.fixture(scope="module")
def app() -> FastAPI:
    """The app of this file; each test sets its own admin services."""
    return create_app()


@pytest.fixture(scope="module")
def served(app: FastAPI) -> Iterator[str]:
    """The URL of the app."""
    with serving(app) as url:
        yield url


@pytest.fixture
def address(app: FastAPI, served: str, container: MadeUp) -> str:
    """The URL of the app, which uses the admin services of the test."""
    let_in(app, container)
    return served


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """A browser page; the test fails if the browser reports an error."""
    context = new_context(browser, base_url=address, viewport=DESK)
    window = context.new_page()
    unexpected_errors = collect_errors(window)
    yield window
    context.close()
    assert unexpected_errors() == []


def collect_errors(page: Page) -> Callable[[], list[str]]:
    """Start to collect the errors of the browser; the returned function returns those that no test expects."""
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    expected = "status of|Response Status Error Code 503|htmx:timeout|htmx:afterRequest"
    return lambda: [text for text in errors if not re.search(expected, text)]


@pytest.fixture(scope="module")
def shared_page(browser: Browser, served: str) -> Iterator[Page]:
    """One browser page for all read-only tests: each new one takes a second."""
    context = new_context(browser, base_url=served)
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("name", PAGES)
def test_every_page_is_accessible(shared_page: Page, address: str, name: str) -> None:
    """axe finds no violation in light and dark mode, and a phone needs no horizontal scrolling. Saves screenshots."""
    page, unexpected_errors = shared_page, collect_errors(shared_page)
    page.set_viewport_size(DESK)  # type: ignore[arg-type]
    page.emulate_media(color_scheme="light")
    page.goto(PAGES[name])
    assert violations(page) == []
    keep_picture(page, f"{name}-light")
    page.emulate_media(color_scheme="dark")
    assert violations(page, "color-contrast") == []
    keep_picture(page, f"{name}-dark")
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    assert wider_than_the_window(page) == 0
    keep_picture(page, f"{name}-phone")
    assert unexpected_errors() == []


def test_form_shows_each_error_at_its_field(page: Page) -> None:
    """Each error is at its field, the form keeps the typed values, and axe finds no violation."""
    page.goto("/pages/jobs/warm-up")
    page.get_by_label("Service").select_option("shop")
    page.get_by_label("Routes").fill("/a\nb")
    page.get_by_label("Extra").fill("{")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_label("Routes")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_text("Line 2: “b” does not match the pattern ^/.")).to_be_visible()
    expect(page.get_by_label("Routes")).to_have_value("/a\nb")
    assert violations(page) == []
    keep_picture(page, "job-with-faults")


def test_change_can_be_shipped_by_keyboard(page: Page, container: MadeUp) -> None:
    """A user presses Tab to the button, types the name and confirms, without a mouse: one run starts."""
    page.goto(f"/pages/changes/{CHANGE}")
    press_until(page, "Ship…")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Start ship-change?")).to_be_visible()
    assert violations(page) == []
    page.get_by_label(f"Type {CHANGE} to confirm").focus()
    page.keyboard.type("something-else")
    page.keyboard.press("Enter")
    expect(page.get_by_text("The name does not match.")).to_be_visible()
    assert container.jobs.started == []
    page.get_by_label(f"Type {CHANGE} to confirm").fill("")
    page.keyboard.type(CHANGE)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/pages/runs/{STARTED}")
    assert [(job, parameters) for job, parameters, _ in container.jobs.started] == [("ship-change", {"change": CHANGE})]


def press_until(page: Page, name: str) -> None:
    """Press Tab until the focused element has this text."""
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("() => document.activeElement.textContent.trim()") == name:
            return
    pytest.fail(f"{name!r} did not get the focus within 40 presses of Tab")


def test_run_page_updates_itself_until_the_end(page: Page, container: MadeUp) -> None:
    """The page updates itself and announces each change, keeps the focus and the open log, and stops polling at the end."""
    page.goto(f"/pages/runs/{BY_IDS['shipping']}")
    expect(page.locator(".at-work")).to_have_text("Current step: rehearse")
    page.get_by_text("Log", exact=True).click()
    expect(page.get_by_text("measured 8 of 20 bursts")).to_be_visible()
    page.get_by_role("link", name="Cancel…").focus()
    container.sample["steps"][-1] = {**container.sample["steps"][-1], "name": "measure after"}
    expect(page.locator(".at-work")).to_have_text("Current step: measure after")
    expect(page.locator("#told")).to_have_text("Running: measure after")
    expect(page.get_by_role("link", name="Cancel…")).to_be_focused()
    expect(page.get_by_text("measured 8 of 20 bursts")).to_be_visible()
    kept = run("shipping", "ship-change", "COMPLETED", "Kept", "done", 12)
    container.sample = kept
    expect(page.locator("#told")).to_have_text("Kept")
    expect(page.locator("#live")).not_to_have_attribute("hx-get", re.compile("."))


def test_pages_work_without_javascript(browser: Browser, address: str, container: MadeUp) -> None:
    """Without JavaScript, plain links and forms do everything."""
    context = new_context(browser, base_url=address, java_script_enabled=False)
    window = context.new_page()
    window.goto(f"/pages/runs/{BY_IDS['waits']}")
    window.get_by_role("link", name="Approve…").click()
    window.get_by_label("Why").fill("the copy came back whole")
    window.get_by_role("button", name="Approve").click()
    window.wait_for_url(f"**/pages/runs/{BY_IDS['waits']}")
    assert container.prefect.calls[0][2] == {"approved": True, "by": "ada", "why": "the copy came back whole"}
    window.get_by_text("Log", exact=True).click()
    window.get_by_role("link", name="Read the log").click()
    expect(window.get_by_text("measured 8 of 20 bursts")).to_be_visible()
    context.close()


def test_times_are_in_the_browsers_time_zone(browser: Browser, address: str) -> None:
    """A time is in the browser's time zone, and its tooltip has the time in UTC."""
    context = new_context(browser, base_url=address, timezone_id="Asia/Tokyo", locale="en-GB")
    window = context.new_page()
    window.goto(f"/pages/runs/{BY_IDS['kept']}")
    time = window.locator("dl time").first
    utc = time.get_attribute("title") or ""
    assert utc.endswith("UTC") and time.text_content() != utc
    context.close()


def test_page_says_when_the_service_is_unreachable(page: Page, container: MadeUp) -> None:
    """The page shows a notice while the service does not answer, and hides the notice afterwards."""
    page.goto("/")
    container.away = True
    expect(page.locator("#away")).to_be_visible(timeout=15_000)
    container.away = False
    expect(page.locator("#away")).to_be_hidden(timeout=15_000)


def test_page_retries_after_a_request_timeout(page: Page, container: MadeUp) -> None:
    """After a timeout the page shows a notice and sends the request again."""
    page.goto(f"/pages/runs/{BY_IDS['shipping']}")
    assert page.evaluate("htmx.config.timeout") == 15_000
    page.evaluate("htmx.config.timeout = 300")  # so that the test is fast
    page.route("**/pages/runs/*", lambda _: None)
    expect(page.locator("#away")).to_be_visible(timeout=15_000)
    page.unroute("**/pages/runs/*")
    container.sample["steps"][-1] = {**container.sample["steps"][-1], "name": "measure after"}
    expect(page.locator(".at-work")).to_have_text("Current step: measure after")
    expect(page.locator("#away")).to_be_hidden()
