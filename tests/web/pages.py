"""Opens pages of the site, and stops scripts in them."""

from __future__ import annotations

from playwright.sync_api import Browser, Page

BOOT_TIMEOUT_MS = 60_000  # for a slow machine under load; a boot takes two seconds


def open_page(browser: Browser, url: str) -> Page:
    """Open the page at this URL and wait until its runtime is ready."""
    page = browser.new_page()
    page.goto(url)
    page.wait_for_function("tensorbrook.runtime.boot()", timeout=BOOT_TIMEOUT_MS)
    return page


STOP_SCRIPT = """
async ([source, milliseconds]) => {
  const stopTime = Promise.withResolvers();
  const options = milliseconds === null ? { onStdout: stopTime.resolve } : {};
  const running = tensorbrook.runtime.run(source, options);
  if (milliseconds !== null) setTimeout(stopTime.resolve, milliseconds);
  await stopTime.promise;
  const restarts = [];
  const unsubscribe = tensorbrook.runtime.onEvent(({ kind, reason }) => {
    if (kind === "restarting") restarts.push(reason);
  });
  tensorbrook.runtime.stop();
  const outcome = await running;
  unsubscribe();
  return [outcome, restarts];
}"""


def run_and_stop(page: Page, source: str, after_ms: int | None = 300) -> tuple[dict, list[str]]:
    """Run a script and stop it after `after_ms`, or with None after its first output; returns the
    outcome and the reasons of the runtime's restarts."""
    return tuple(page.evaluate(STOP_SCRIPT, [source, after_ms]))
