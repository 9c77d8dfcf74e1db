"""Fixtures of the page's tests: one browser for all of them, and the servers of sites.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pages import open_page
from playwright.sync_api import Browser, Page, expect, sync_playwright
from studio_pages import TIMEOUT_MS, open_studio

from tensorbrook.studio.browser import SOFTWARE_GPU, launch_options

expect.set_options(timeout=TIMEOUT_MS)      # Playwright's default of 5 s is short on a busy machine


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium
        launched = chromium.launch(**launch_options(chromium.executable_path))
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def gpu_browser(browser: Browser) -> Iterator[Browser]:
    """A browser with a software adapter (SwiftShader) as its GPU."""
    chromium = browser.browser_type
    launched = chromium.launch(**launch_options(chromium.executable_path, extra_flags=SOFTWARE_GPU))
    yield launched
    launched.close()


@pytest.fixture(scope="session")
def runtime(browser: Browser, site_url: str) -> Iterator[Page]:
    """A page with two threads that tests share; its runtime must survive every test."""
    page = open_page(browser, f"{site_url}run.html?threads=2")
    yield page
    page.close()


@pytest.fixture
def page(browser: Browser, site_url: str) -> Iterator[Page]:
    """A separate Studio page, with Python ready."""
    with open_studio(browser, site_url) as page:
        expect(page.get_by_test_id("status")).to_have_text("Ready.")
        yield page
