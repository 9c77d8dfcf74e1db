"""First-call latency of a training step in a new browser, and again on the next visit."""

from __future__ import annotations

import json
from collections.abc import Sequence

from playwright.sync_api import Page

from .browser import TIMEOUT_MS, chromium, our_sources
from .server import Site
from .time_to_first_step import median_of_runs
from .workloads import Workload

RUN = """async ([script, sources]) => {
  await tensorbrook.runtime.boot();
  const files = Object.entries(sources).map(([path, text]) => (
    { path: `benchmarks/ours/${path}`, bytes: new TextEncoder().encode(text) }));
  const { stdout, stderr, error } = await tensorbrook.runtime.run(script, { files });
  if (error !== null) throw new Error(stderr + error);
  return JSON.parse(stdout.trim().split("\\n").at(-1));
}"""

NEXT_VISIT = "{}, next visit"


def measure(workloads: Sequence[Workload], runs: int) -> dict[str, float]:
    """Milliseconds of each workload's first call: the median over `runs` new browsers."""
    results = [measure_in_new_browser(workloads) for _ in range(runs)]
    return {name: median_of_runs(results, name) for name in results[0]}


def measure_in_new_browser(workloads: Sequence[Workload]) -> dict[str, float]:
    with Site() as site, chromium() as browser:
        page = browser.new_context().new_page()
        page.set_default_timeout(TIMEOUT_MS)
        first, second = (visit(page, f"{site.url}run.html", workloads) for _ in range(2))
        return first | {NEXT_VISIT.format(name): ms for name, ms in second.items()}


def visit(page: Page, address: str, workloads: Sequence[Workload]) -> dict[str, float]:
    page.goto(address)
    page.wait_for_function("globalThis.tensorbrook !== undefined")
    requests = [workload.request() for workload in workloads]
    script = ("import json\nfrom benchmarks.ours import first_call_latency\n"
              f"requests = json.loads({json.dumps(requests)!r})\n"
              "print(json.dumps(first_call_latency.measure(requests)))\n")
    return page.evaluate(RUN, [script, our_sources()])
