"""Checks of a page in a browser: accessibility, width, and screenshots."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import axe_playwright_python
from playwright.sync_api import Browser, BrowserContext, Page, expect

ROOT = Path(__file__).parents[1]
AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
# Only violations: the complete result of a page has megabytes.
RUN_AXE = """async (rules) => {
    const options = { resultTypes: ["violations"], ...(rules.length ? { runOnly: rules } : {}) };
    return (await axe.run(options)).violations;
}"""
PHONE = {"width": 360, "height": 740}
DESK = {"width": 1280, "height": 900}
WITHIN_MS = 120_000  # deadline of every wait, long enough for a slow machine
expect.set_options(timeout=WITHIN_MS)


def new_context(browser: Browser, **options: Any) -> BrowserContext:
    """Return a browser context in which every action and navigation times out after `WITHIN_MS`."""
    context = browser.new_context(**options)
    context.set_default_timeout(WITHIN_MS)
    return context


def violations(page: Page, *rules: str) -> list[str]:
    """Return the violations that axe finds on a page, as rule and elements. Without `rules`, check all rules."""
    if page.evaluate("() => typeof axe === 'undefined'"):
        page.evaluate(AXE)
    results: list[dict[str, Any]] = page.evaluate(RUN_AXE, list(rules))
    return [f"{violation['id']}: {[node['html'][:120] for node in violation['nodes']]}" for violation in results]


def keep_picture(page: Page, name: str) -> None:
    """Save a screenshot of the whole page below SLIPWAY_SCREENSHOTS, or below .slipway/screenshots if that is not set."""
    folder = Path(os.environ.get("SLIPWAY_SCREENSHOTS") or ROOT / ".slipway" / "screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / f"{name}.png", full_page=True)


def wider_than_the_window(page: Page) -> int:
    """Return how many pixels the page is wider than the window; 0 if it fits."""
    excess: int = page.evaluate("() => document.documentElement.scrollWidth - window.innerWidth")
    return max(0, excess)
