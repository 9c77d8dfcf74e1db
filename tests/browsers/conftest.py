"""Fixtures of the tests in Firefox and WebKit: each browser starts once, with one page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import firefox_webkit
import pytest
from drivers import Driver, Firefox, WebKit
from page import open_page


@pytest.fixture(scope="session")
def programs() -> firefox_webkit.Programs:
    return firefox_webkit.find()


def start(name: str, programs: firefox_webkit.Programs) -> Driver:
    if name == "firefox": return Firefox(programs.firefox)
    return WebKit(programs)


@pytest.fixture(scope="session", params=["firefox", "webkit"])
def driver(request, programs) -> Iterator[Driver]:
    with closing(start(request.param, programs)) as driver:
        yield driver


@pytest.fixture
def runtime(driver: Driver, site_url: str) -> Driver:
    """The driver with a booted runtime of two threads, which the tests share."""
    url = f"{site_url}run.html?threads=2"
    if driver.evaluate("location.href") != url:
        open_page(driver, url)
    return driver
