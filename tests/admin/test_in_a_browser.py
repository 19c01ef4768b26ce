"""The pages in a real Chromium over runs that are made up: looks, liveness, keyboard, and what axe says."""

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
    **{f"run-{name}": f"/pages/runs/{found}" for name, found in BY_IDS.items()},
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
    """The doors with one run of each kind."""
    return lively(tmp_path)


@pytest.fixture(scope="module")
def app() -> FastAPI:
    """The app of this file; each test gives it its own services."""
    return create_app()


@pytest.fixture(scope="module")
def served(app: FastAPI) -> Iterator[str]:
    """Where the app answers."""
    with serving(app) as found:
        yield found


@pytest.fixture
def address(app: FastAPI, served: str, container: MadeUp) -> str:
    """Where the app answers from the doors of the test."""
    let_in(app, container)
    return served


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """A window onto the app, which fails the test for whatever the browser complains of."""
    context = new_context(browser, base_url=address, viewport=DESK)
    opened = context.new_page()
    complaints = hear_complaints(opened)
    yield opened
    context.close()
    assert complaints() == []


def hear_complaints(page: Page) -> Callable[[], list[str]]:
    """Begin to collect what the browser complains of; a call returns what no test expects."""
    all_of_them: list[str] = []
    page.on("console", lambda message: all_of_them.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: all_of_them.append(str(error)))
    expected = "status of|Response Status Error Code 503|htmx:timeout|htmx:afterRequest"
    return lambda: [text for text in all_of_them if not re.search(expected, text)]


@pytest.fixture(scope="module")
def wall(browser: Browser, served: str) -> Iterator[Page]:
    """One window for all pages that are only looked at: each new one costs a second."""
    context = new_context(browser, base_url=served)
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("name", PAGES)
def test_every_page_for_everybody(wall: Page, address: str, name: str) -> None:
    """axe finds nothing wrong in light and in dark; a phone needs no scrolling sideways. Pictures are kept."""
    page, complaints = wall, hear_complaints(wall)
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
    assert complaints() == []


def test_a_form_with_faults(page: Page) -> None:
    """Each fault stands beside its field, what was typed is there, and axe finds nothing wrong with it."""
    page.goto("/pages/jobs/warm-up")
    page.get_by_label("Service").select_option("shop")
    page.get_by_label("Routes").fill("/a\nb")
    page.get_by_label("Extra").fill("{")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_label("Routes")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_text("Line 2: “b” does not have the form ^/.")).to_be_visible()
    expect(page.get_by_label("Routes")).to_have_value("/a\nb")
    assert violations(page) == []
    keep_picture(page, "job-with-faults")


def test_ship_by_keyboard_alone(page: Page, container: MadeUp) -> None:
    """Tab to the change's button, read what will happen, type the name, and go: no mouse, and one run."""
    page.goto(f"/pages/changes/{CHANGE}")
    press_until(page, "Ship…")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Start ship-change?")).to_be_visible()
    assert violations(page) == []
    page.get_by_label(f"Type {CHANGE} to go on").focus()
    page.keyboard.type("something-else")
    page.keyboard.press("Enter")
    expect(page.get_by_text("This is another name.")).to_be_visible()
    assert container.jobs.started == []
    page.get_by_label(f"Type {CHANGE} to go on").fill("")
    page.keyboard.type(CHANGE)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/pages/runs/{STARTED}")
    assert [(job, parameters) for job, parameters, _ in container.jobs.started] == [("ship-change", {"change": CHANGE})]


def press_until(page: Page, name: str) -> None:
    """Tab until the focus is on what is called so."""
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("() => document.activeElement.textContent.trim()") == name:
            return
    pytest.fail(f"40 tabs did not lead to {name!r}")


def test_a_run_is_watched_to_its_end(page: Page, container: MadeUp) -> None:
    """News comes by itself and is announced in a sentence; focus and what is folded open stay; in the end nobody asks."""
    page.goto(f"/pages/runs/{BY_IDS['shipping']}")
    expect(page.locator(".at-work")).to_have_text("At work: rehearse")
    page.get_by_text("Log", exact=True).click()
    expect(page.get_by_text("measured 8 of 20 bursts")).to_be_visible()
    page.get_by_role("link", name="Cancel…").focus()
    container.found["steps"][-1] = {**container.found["steps"][-1], "name": "measure after"}
    expect(page.locator(".at-work")).to_have_text("At work: measure after")
    expect(page.locator("#told")).to_have_text("Running: measure after")
    expect(page.get_by_role("link", name="Cancel…")).to_be_focused()
    expect(page.get_by_text("measured 8 of 20 bursts")).to_be_visible()
    kept = run("shipping", "ship-change", "COMPLETED", "Kept", "done", 12)
    container.found = kept
    expect(page.locator("#told")).to_have_text("Kept")
    expect(page.locator("#live")).not_to_have_attribute("hx-get", re.compile("."))


def test_without_a_script(browser: Browser, address: str, container: MadeUp) -> None:
    """Whoever has no script sees everything and does everything: plain links, plain forms."""
    context = new_context(browser, base_url=address, java_script_enabled=False)
    window = context.new_page()
    window.goto(f"/pages/runs/{BY_IDS['waits']}")
    window.get_by_role("link", name="Approve…").click()
    window.get_by_label("Why").fill("the copy came back whole")
    window.get_by_role("button", name="Approve").click()
    window.wait_for_url(f"**/pages/runs/{BY_IDS['waits']}")
    assert container.prefect.told[0][2] == {"approved": True, "by": "ada", "why": "the copy came back whole"}
    window.get_by_text("Log", exact=True).click()
    window.get_by_role("link", name="Read the log").click()
    expect(window.get_by_text("measured 8 of 20 bursts")).to_be_visible()
    context.close()


def test_times_are_the_readers_own(browser: Browser, address: str) -> None:
    """A time is shown in the zone of who reads, and says its UTC on hovering."""
    context = new_context(browser, base_url=address, timezone_id="Asia/Tokyo", locale="en-GB")
    window = context.new_page()
    window.goto(f"/pages/runs/{BY_IDS['kept']}")
    time = window.locator("dl time").first
    utc = time.get_attribute("title") or ""
    assert utc.endswith("UTC") and time.text_content() != utc
    context.close()


def test_the_service_goes_away(page: Page, container: MadeUp) -> None:
    """The page says that it is not live any more, and takes that back once the service answers again."""
    page.goto("/")
    container.away = True
    expect(page.locator("#away")).to_be_visible(timeout=15_000)
    container.away = False
    expect(page.locator("#away")).to_be_hidden(timeout=15_000)


def test_an_answer_that_never_comes(page: Page, container: MadeUp) -> None:
    """The page gives a question up after a while, says that it is not live, and asks again."""
    page.goto(f"/pages/runs/{BY_IDS['shipping']}")
    assert page.evaluate("htmx.config.timeout") == 15_000
    page.evaluate("htmx.config.timeout = 300")  # the test need not wait as long as a person
    page.route("**/pages/runs/*", lambda _: None)
    expect(page.locator("#away")).to_be_visible(timeout=15_000)
    page.unroute("**/pages/runs/*")
    container.found["steps"][-1] = {**container.found["steps"][-1], "name": "measure after"}
    expect(page.locator(".at-work")).to_have_text("At work: measure after")
    expect(page.locator("#away")).to_be_hidden()
