"""The one browser and the page in which the contenders meet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from tensorbrook.studio.browser import launch_options

from . import peak_rates
from .workloads import Workload

OURS = Path(__file__).parent / "ours"
PATIENCE_MS = 120_000

# The one way to tell jax-js how many threads to take, and it looks when it is imported; ours, tfjs
# and ORT are told by name.
CORES = "Object.defineProperty(navigator, 'hardwareConcurrency', {{ value: {} }})"


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium with a profile of its own, empty at first."""
    with sync_playwright() as playwright:
        kind = playwright.chromium
        browser = kind.launch(**launch_options(kind.executable_path))
        try:
            yield browser
        finally:
            browser.close()


def our_sources() -> dict[str, str]:
    """Our programs as text, by file."""
    return {path.name: path.read_text(encoding="utf-8") for path in OURS.glob("*.py")}


class BenchmarkPage:
    """The page as Python sees it: an Arena (rounds.py), the ceiling, and lines of our Python."""

    def __init__(self, page: Page, url: str, threads: int):
        self.page, self.threads = page, threads
        page.set_default_timeout(PATIENCE_MS)
        page.add_init_script(CORES.format(threads))
        page.goto(f"{url}benchmarks/index.html")
        page.wait_for_function("globalThis.startBenchmark !== undefined")
        page.evaluate("async ([threads, sources, ceiling]) => "
                      "{ await startBenchmark(threads, sources, ceiling); }",
                      [threads, our_sources(), list(peak_rates.module())])

    def prepare(self, workload: Workload, names: Sequence[str]) -> Mapping[str, dict]:
        return self.page.evaluate("words => benchmark.prepare(...words)",
                                  [workload.request(), list(names)])

    def turn(self, name: str, steps: int) -> float:
        return self.page.evaluate("words => benchmark.turn(...words)", [name, steps])

    def drop(self) -> None:
        self.page.evaluate("() => benchmark.drop()")

    def ceiling(self, loop: str, count: int, size: int) -> float:
        return self.page.evaluate("words => benchmark.ceiling.run(...words)", [loop, count, size])

    def python(self, module: str, call: str) -> Any:
        """What a function of benchmarks/ours answers, as JSON carries it."""
        line = f"from benchmarks.ours import {module}\nprint(json.dumps({module}.{call}))"
        return self.page.evaluate("line => benchmark.python(line)", line)


@contextmanager
def benchmark_page(browser: Browser, url: str, threads: int) -> Iterator[BenchmarkPage]:
    page = browser.new_page()
    try:
        yield BenchmarkPage(page, url, threads)
    finally:
        page.close()
