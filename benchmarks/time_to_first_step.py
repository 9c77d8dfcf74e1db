"""Time to the first training step: from navigation, in a new browser with an empty cache."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from .browser import TIMEOUT_MS, chromium
from .server import Site

# A first script: import, data, a network, one batch.
SCRIPT = (Path(__file__).parent / "ours/digits.py").read_text(encoding="utf-8") + "\nfirst_step()\n"

STEPS = """async (script) => {
  const capabilities = await tensorbrook.runtime.boot();
  const ready_ms = performance.now();
  const { error } = await tensorbrook.runPython(script);
  if (error !== null) throw new Error(error);
  return { ready_ms, first_step_ms: performance.now(), boot_ms: capabilities.bootMs };
}"""


def measure(runs: int) -> dict:
    """Medians over some runs, each in a new browser, and the bytes sent to the first one."""
    results = [measure_once() for _ in range(runs)]
    return {"navigation to ready, ms": median_of_runs(results, "ready_ms"),
            "navigation to first step, ms": median_of_runs(results, "first_step_ms"),
            "bytes sent": results[0]["bytes"], "boot_ms": results[0]["boot_ms"],
            "runs": results}


def median_of_runs(results: Sequence[dict], name: str) -> float:
    return median(result[name] for result in results)


def measure_once() -> dict:
    with Site() as site, chromium() as browser:
        page = browser.new_page()
        page.set_default_timeout(TIMEOUT_MS)
        page.goto(f"{site.url}run.html")
        page.wait_for_function("globalThis.tensorbrook !== undefined")
        result = page.evaluate(STEPS, SCRIPT)
        return result | {"bytes": sum(site.counter.sent.values()),
                         "bytes_by_path": dict(site.counter.sent)}
