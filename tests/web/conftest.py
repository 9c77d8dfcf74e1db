"""Fixtures of the page's tests: one browser and one server for all of them."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator

import pytest
from pages import open_page
from playwright.sync_api import Browser, Page, expect, sync_playwright
from studio_pages import TIMEOUT_MS, open_studio

from tensorbrook.studio.browser import SOFTWARE_GPU, launch_options
from tensorbrook.studio.server import STATIC, Server

expect.set_options(timeout=TIMEOUT_MS)      # Playwright's default of 5 s is short on a busy machine

BUILD_OUTPUTS = ("index.html", "run.html", "tensorbrook.whl", "pyodide/pyodide.mjs",
                 "engine/engine-threads.wasm")


@pytest.fixture(scope="session")
def page_build() -> None:
    """Require the outputs of a build."""
    missing = [name for name in BUILD_OUTPUTS if not (STATIC / name).exists()]
    assert not missing, f"{STATIC} lacks {missing}; run python build_scripts/build.py first"


@pytest.fixture(scope="session")
def site_url(page_build) -> Iterator[str]:
    """The site's URL on a server that sends the headers for cross-origin isolation."""
    with Server() as server:
        yield server.url


@pytest.fixture(scope="session")
def unisolated_url(page_build) -> Iterator[str]:
    """The site's URL on a server without the headers for cross-origin isolation."""
    handler = functools.partial(QuietHandler, directory=str(STATIC))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map,
                      ".mjs": "text/javascript", ".wasm": "application/wasm"}

    def log_message(self, *_):
        """Log nothing."""


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
