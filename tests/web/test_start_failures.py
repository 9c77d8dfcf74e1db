"""Failures between navigation and the first step: the page runs on, or shows a sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from pages import BOOT_TIMEOUT_MS
from playwright.sync_api import Browser, Page, Route, expect
from sites import answer_script

from tensorbrook.studio.server import Server

PAGES = {"studio": "", "runtime": "run.html"}
NO_SHARED_MEMORY = "delete globalThis.SharedArrayBuffer;"
BOOT_SILENCE_MS = 30_000    # client.ts
THREAD_START_MS = 10_000    # engine.ts
COMPUTE = "import tensorbrook as tf\nprint((tf.ones((64, 64)) @ tf.ones((64, 1)))[5].tolist())"


@contextmanager
def new_page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(BOOT_TIMEOUT_MS)
    yield page
    context.close()


def prepend(page: Page, pattern: str, code: str) -> None:
    """Run `code` before the script that matches the pattern, which may be a worker's."""
    rewrite(page, pattern, lambda script: f"{code}\n{script}")


def replace(page: Page, pattern: str, code: str) -> None:
    rewrite(page, pattern, lambda _: code)


def rewrite(page: Page, pattern: str, change: Callable[[str], str]) -> None:
    """Change a script; it keeps the server's headers, without which a worker is blocked."""
    def answer(route: Route) -> None:
        response = route.fetch()
        route.fulfill(response=response, body=change(response.text()))
    page.route(pattern, answer)


def capabilities(page: Page) -> dict:
    return page.evaluate("tensorbrook.runtime.boot()")


def assert_computes(page: Page) -> None:
    result = page.evaluate("source => tensorbrook.runPython(source)", COMPUTE)
    assert (result["stdout"], result["error"]) == ("[64.0]\n", None)


@pytest.mark.parametrize("where", ["page and worker", "worker"])
@pytest.mark.parametrize("path", PAGES.values(), ids=PAGES)
def test_isolated_page_without_shared_memory_runs_on_one_thread(
        browser: Browser, site_url: str, path: str, where: str):
    with new_page(browser) as page:
        if "page" in where: page.add_init_script(NO_SHARED_MEMORY)
        prepend(page, "**/assets/worker-*.js", NO_SHARED_MEMORY)
        page.goto(site_url + path)
        expect(page.get_by_test_id("notice")).to_contain_text("no shared memory")
        found = capabilities(page)
        assert (found["isolated"], found["engine"], found["threads"]) == (True, "relaxed", 1)
        assert_computes(page)


@pytest.mark.parametrize("language", ["C", "", "en_US.UTF-8"])
def test_studio_starts_with_a_language_that_is_no_tag(
        browser: Browser, site_url: str, language: str):
    with new_page(browser) as page:
        page.add_init_script("Object.defineProperty(Navigator.prototype, 'language', "
                             f"{{ get: () => {language!r} }});")
        page.goto(site_url)
        expect(page.get_by_test_id("status")).to_have_text("Ready.")


# What happens to the script of the runtime's worker, and a part of the sentence.
BROKEN_WORKERS = {
    "throws": ("throw new Error('broken on purpose')", "broken on purpose"),
    "has a syntax error": ("const = 1", "this browser cannot run it"),
    "rejects a promise": ("Promise.reject(new Error('lost on purpose'))", "lost on purpose"),
}


def expect_failed_boot(page: Page, reason: str) -> None:
    expect(page.get_by_test_id("status")).to_contain_text("ould not start: ")
    expect(page.get_by_test_id("status")).to_contain_text(reason)
    error = page.evaluate("tensorbrook.runPython('1').catch((error) => error.message)")
    assert reason in error


@pytest.mark.parametrize("path", PAGES.values(), ids=PAGES)
@pytest.mark.parametrize("name", BROKEN_WORKERS)
def test_worker_that_fails_is_reported(browser: Browser, site_url: str, path: str, name: str):
    code, reason = BROKEN_WORKERS[name]
    with new_page(browser) as page:
        prepend(page, "**/assets/worker-*.js", code)
        page.goto(site_url + path)
        expect_failed_boot(page, reason)


@pytest.mark.parametrize("path", PAGES.values(), ids=PAGES)
def test_worker_that_cannot_be_loaded_is_reported(browser: Browser, site_url: str, path: str):
    with new_page(browser) as page:
        page.route("**/assets/worker-*.js", lambda route: route.fulfill(status=404))
        page.goto(site_url + path)
        expect_failed_boot(page, "check the connection and reload the page")


@pytest.mark.parametrize("name", ["tensorbrook.whl", "pyodide/pyodide.asm.mjs",
                                  "engine/engine-threads.wasm"])
def test_connection_that_fails_is_reported(browser: Browser, site_url: str, name: str):
    with new_page(browser) as page:
        page.route(f"**/{name}", lambda route: route.abort())
        page.goto(site_url)
        expect_failed_boot(page, name)
        expect_failed_boot(page, "check the connection and reload the page")


def test_browser_without_webassembly_is_reported(browser: Browser, site_url: str):
    with new_page(browser) as page:
        prepend(page, "**/assets/worker-*.js", "delete globalThis.WebAssembly;")
        page.goto(site_url)
        expect_failed_boot(page, "no WebAssembly")


@pytest.mark.parametrize("path", PAGES.values(), ids=PAGES)
def test_worker_that_never_answers_is_reported(browser: Browser, site_url: str, path: str):
    with new_page(browser) as page:
        replace(page, "**/assets/worker-*.js", "// It handles no message.")
        page.clock.install()
        page.goto(site_url + path)
        status = page.get_by_test_id("status")
        expect(status).to_contain_text("Starting Python")
        page.clock.fast_forward(BOOT_SILENCE_MS + 1000)
        expect(status).to_contain_text("has not answered for 30 seconds")
        expect(status).to_contain_text("reload the page")


# Body and status of the script.
BROKEN_THREADS = {"throws": ("throw new Error('broken on purpose')", 200),
                  "never answers": ("// It handles no message.", 200),
                  "is missing": ("", 404)}


@pytest.mark.parametrize("name", BROKEN_THREADS)
def test_engine_starts_without_threads_if_a_helper_thread_fails(
        page_build, browser: Browser, name: str):
    # A page cannot intercept the script of a worker that a worker starts.
    routes = [answer_script("thread_worker", *BROKEN_THREADS[name])]
    with Server(routes=routes) as server, new_page(browser) as page:
        page.goto(f"{server.url}run.html?threads=2")
        expect(page.get_by_test_id("notice")).to_contain_text(
            "one thread: helper thread 1 did not start", timeout=THREAD_START_MS + BOOT_TIMEOUT_MS)
        assert (capabilities(page)["engine"], capabilities(page)["threads"]) == ("relaxed", 1)
        assert_computes(page)


def expect_alert(page: Page, reason: str) -> None:
    alert = page.get_by_role("alert")
    expect(alert).to_have_count(1)
    expect(alert).to_contain_text(reason)
    expect(alert).to_contain_text("Reload it")


@pytest.mark.parametrize(("path", "script"), [("", "index"), ("run.html", "run")], ids=PAGES)
@pytest.mark.parametrize("code", ["throw new Error('broken on purpose');",
                                  "Promise.reject(new Error('broken on purpose'));"])
def test_failure_while_modules_load_is_shown(
        browser: Browser, site_url: str, path: str, script: str, code: str):
    with new_page(browser) as page:
        replace(page, f"**/assets/{script}-*.js", code)
        page.goto(site_url + path)
        expect_alert(page, "broken on purpose")


@pytest.mark.parametrize(("path", "script"), [("", "index"), ("run.html", "run")], ids=PAGES)
def test_script_that_cannot_be_loaded_is_shown(
        browser: Browser, site_url: str, path: str, script: str):
    with new_page(browser) as page:
        page.route(f"**/assets/{script}-*.js", lambda route: route.fulfill(status=404))
        page.goto(site_url + path)
        expect_alert(page, "could not be loaded")


def test_studio_without_storage_starts(browser: Browser, site_url: str):
    with new_page(browser) as page:
        page.add_init_script("Object.defineProperty(window, 'localStorage', "
                             "{ get() { throw new DOMException('denied', 'SecurityError'); } });")
        page.goto(site_url)
        expect(page.get_by_test_id("status")).to_have_text("Ready.")
        expect(page.get_by_role("alert")).to_have_count(0)
