"""The benchmark page in a headless Chromium, driven through Playwright."""

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
TIMEOUT_MS = 120_000

# jax-js reads its number of threads from navigator when it is imported and has no other setting.
# The other implementations receive the number as an argument.
SET_CORES = "Object.defineProperty(navigator, 'hardwareConcurrency', {{ value: {} }})"


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium with a new, empty profile."""
    with sync_playwright() as playwright:
        kind = playwright.chromium
        browser = kind.launch(**launch_options(kind.executable_path))
        try:
            yield browser
        finally:
            browser.close()


def our_sources() -> dict[str, str]:
    """The sources of benchmarks/ours, by file name."""
    return {path.name: path.read_text(encoding="utf-8") for path in OURS.glob("*.py")}


class BenchmarkPage:
    """The benchmark page: a Runner (interleaved_runs.py), the peak loops, and Python."""

    def __init__(self, page: Page, url: str, threads: int):
        self.page, self.threads = page, threads
        page.set_default_timeout(TIMEOUT_MS)
        page.add_init_script(SET_CORES.format(threads))
        page.goto(f"{url}benchmarks/index.html")
        page.wait_for_function("globalThis.startBenchmark !== undefined")
        page.evaluate("async ([threads, sources, loops]) => "
                      "{ await startBenchmark(threads, sources, loops); }",
                      [threads, our_sources(), list(peak_rates.module())])

    def prepare(self, workload: Workload, names: Sequence[str]) -> Mapping[str, dict]:
        return self.page.evaluate("args => benchmark.prepare(...args)",
                                  [workload.request(), list(names)])

    def run_steps(self, name: str, steps: int) -> float:
        return self.page.evaluate("args => benchmark.runSteps(...args)", [name, steps])

    def drop(self) -> None:
        self.page.evaluate("() => benchmark.drop()")

    def run_peak_loop(self, loop: str, count: int, size: int) -> float:
        return self.page.evaluate("args => benchmark.peakLoops.run(...args)", [loop, count, size])

    def python(self, module: str, call: str) -> Any:
        """Evaluate a call of a benchmarks/ours module in the page; the result travels as JSON."""
        line = f"from benchmarks.ours import {module}\nprint(json.dumps({module}.{call}))"
        return self.page.evaluate("line => benchmark.python(line)", line)


@contextmanager
def benchmark_page(browser: Browser, url: str, threads: int) -> Iterator[BenchmarkPage]:
    page = browser.new_page()
    try:
        yield BenchmarkPage(page, url, threads)
    finally:
        page.close()
