"""One browser and one server for all tests of the page."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator

import pytest
from pages import opened
from playwright.sync_api import Browser, Page, expect, sync_playwright
from studio_pages import SOON_MS, studio

from tensorbrook.studio.browser import SOFTWARE_GPU, launch_options
from tensorbrook.studio.server import STATIC, Server

expect.set_options(timeout=SOON_MS)      # Playwright's own 5 s are few on a machine that is busy

PARTS = ("index.html", "run.html", "tensorbrook.whl", "pyodide/pyodide.mjs",
         "engine/engine-threads.wasm")


@pytest.fixture(scope="session")
def built() -> None:
    """The page's tests are about what a build made."""
    missing = [part for part in PARTS if not (STATIC / part).exists()]
    assert not missing, f"{STATIC} lacks {missing}; run python build_scripts/build.py first"


@pytest.fixture(scope="session")
def address(built) -> Iterator[str]:
    """Where the site is served, with the headers that isolate a page."""
    with Server() as server:
        yield server.url


@pytest.fixture(scope="session")
def bare_address(built) -> Iterator[str]:
    """Where the site is served as any plain host would, without those headers."""
    handler = functools.partial(Silent, directory=str(STATIC))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


class Silent(http.server.SimpleHTTPRequestHandler):
    extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map,
                      ".mjs": "text/javascript", ".wasm": "application/wasm"}

    def log_message(self, *_):
        """Nothing: the log of a test is its failures."""


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium
        started = chromium.launch(**launch_options(chromium.executable_path))
        yield started
        started.close()


@pytest.fixture(scope="session")
def gpu_browser(browser: Browser) -> Iterator[Browser]:
    """One whose GPU the processor plays."""
    chromium = browser.browser_type
    started = chromium.launch(**launch_options(chromium.executable_path, more=SOFTWARE_GPU))
    yield started
    started.close()


@pytest.fixture(scope="session")
def runtime(browser: Browser, address: str) -> Iterator[Page]:
    """A page with two threads that tests share; they leave its runtime alive."""
    page = opened(browser, f"{address}run.html?threads=2")
    yield page
    page.close()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """A Studio of its own, with Python ready."""
    with studio(browser, address) as page:
        expect(page.get_by_test_id("status")).to_have_text("Ready.")
        yield page
