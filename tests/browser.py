"""What is looked at on every page in a browser."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import axe_playwright_python
from playwright.sync_api import Browser, BrowserContext, Page, expect

ROOT = Path(__file__).parents[1]
AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
# Only violations: the whole result of a page is megabytes.
RUN_AXE = """async (rules) => {
    const options = { resultTypes: ["violations"], ...(rules.length ? { runOnly: rules } : {}) };
    return (await axe.run(options)).violations;
}"""
PHONE = {"width": 360, "height": 740}
DESK = {"width": 1280, "height": 900}
WITHIN_MS = 120_000  # deadline of every wait: a slow machine needs some of it, a wrong page all of it
expect.set_options(timeout=WITHIN_MS)


def new_context(browser: Browser, **options: Any) -> BrowserContext:
    """A browser context in which every action and navigation may take `WITHIN_MS`."""
    context = browser.new_context(**options)
    context.set_default_timeout(WITHIN_MS)
    return context


def violations(page: Page, *rules: str) -> list[str]:
    """What axe finds wrong with a page, by all of its rules or by some: the rule and the elements."""
    if page.evaluate("() => typeof axe === 'undefined'"):
        page.evaluate(AXE)
    found: list[dict[str, Any]] = page.evaluate(RUN_AXE, list(rules))
    return [f"{each['id']}: {[node['html'][:120] for node in each['nodes']]}" for each in found]


def keep_picture(page: Page, name: str) -> None:
    """A screenshot of the whole page, kept below .slipway/ or where SLIPWAY_SCREENSHOTS says."""
    folder = Path(os.environ.get("SLIPWAY_SCREENSHOTS") or ROOT / ".slipway" / "screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / f"{name}.png", full_page=True)


def wider_than_the_window(page: Page) -> int:
    """By how many pixels the page would have to be scrolled sideways."""
    wider: int = page.evaluate("() => document.documentElement.scrollWidth - window.innerWidth")
    return max(0, wider)
