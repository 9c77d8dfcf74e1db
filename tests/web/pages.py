"""How the tests open a page of the site."""

from __future__ import annotations

from playwright.sync_api import Browser, Page

BOOT_MS = 60_000  # a slow machine under load; a boot takes two seconds


def opened(browser: Browser, url: str) -> Page:
    """The page at this address, with its runtime ready."""
    page = browser.new_page()
    page.goto(url)
    page.wait_for_function("tensorbrook.runtime.boot()", timeout=BOOT_MS)
    return page


STOP = """
async ([source, milliseconds]) => {
  const begun = Promise.withResolvers();
  const options = milliseconds === null ? { onStdout: begun.resolve } : {};
  const running = tensorbrook.runtime.run(source, options);
  if (milliseconds !== null) setTimeout(begun.resolve, milliseconds);
  await begun.promise;
  const restarts = [];
  const unheard = tensorbrook.runtime.onEvent(({ kind, reason }) => {
    if (kind === "restarting") restarts.push(reason);
  });
  tensorbrook.runtime.stop();
  const outcome = await running;
  unheard();
  return [outcome, restarts];
}"""


def stopped(page: Page, source: str, after_ms: int | None = 300) -> tuple[dict, list[str]]:
    """What came of a script that was stopped after so long, or, with None, once it had printed
    something; and why the runtime had to start anew for it."""
    return tuple(page.evaluate(STOP, [source, after_ms]))
