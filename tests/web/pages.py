"""How the tests open a page of the site."""

from __future__ import annotations

from playwright.sync_api import Browser, Page

BOOT_MS = 60_000  # a slow machine under load; a boot takes two seconds


def opened(browser: Browser, url: str) -> Page:
    """The page at this address, with its runtime ready."""
    page = browser.new_page()
    page.goto(url)
    page.wait_for_function("tensorbrook.runtime.boot()", timeout=BOOT_MS)
    return page
