"""The program cache of a page: a second visit finds the programs that the first visit compiled."""

from __future__ import annotations

from page_scripts import STEP
from pages import open_page
from playwright.sync_api import Browser, BrowserContext

MAX_PROGRAMS = 400                  # of the cache, web/runtime/program_cache.ts
FILL = """
import tensorbrook as tf
for n in range({begin}, {end}):
    tf.exp(tf.zeros(n + 1))
print(tf.config.get_counters()["compiled"])
"""
COUNT_STORED_PROGRAMS = """
async () => {
  const [name] = await caches.keys();
  return (await (await caches.open(name)).keys()).length;
}"""
WAIT_FOR_STORED_PROGRAMS = """
async (count) => {
  for (;;) {
    const names = await caches.keys();
    const stores = await Promise.all(names.map((name) => caches.open(name)));
    const stored = await Promise.all(stores.map((store) => store.keys()));
    if (names.length === 1 && stored[0].length >= count) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}"""


def visit(context: Browser | BrowserContext, url: str, min_stored: int) -> tuple[str, int]:
    """Run the script in a new page; returns its losses and the number of programs it compiled."""
    page = open_page(context, url)
    result = page.evaluate("source => tensorbrook.runPython(source)", STEP)
    assert result["error"] is None, result
    losses, num_compiled = result["stdout"].rsplit(" ", 1)
    page.evaluate(WAIT_FOR_STORED_PROGRAMS, min_stored or int(num_compiled))
    page.close()
    return losses, int(num_compiled)


def test_a_second_visit_compiles_nothing(browser: Browser, site_url: str):
    context = browser.new_context()
    first_losses, num_compiled = visit(context, f"{site_url}run.html", 0)
    losses, num_compiled_again = visit(context, f"{site_url}run.html", num_compiled)
    assert num_compiled >= 1 and num_compiled_again == 0
    assert losses == first_losses
    _, num_compiled_simd = visit(context, f"{site_url}run.html?engine=simd", num_compiled)
    assert num_compiled_simd == num_compiled, "another build of the engine has separate programs"
    context.close()


def test_programs_of_another_wheel_are_deleted(browser: Browser, site_url: str):
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{site_url}run.html")
    page.evaluate("caches.open('tensorbrook programs of an older wheel')")
    page.close()
    visit(context, f"{site_url}run.html", 0)        # waits until a single cache is left
    context.close()


def fill(context: BrowserContext, url: str, begin: int, end: int, also: str = "") -> int:
    """Compile two programs for each shape in a new page; returns the number of stored programs."""
    page = open_page(context, url)
    for source in (also, FILL.format(begin=begin, end=end)):
        result = page.evaluate("source => tensorbrook.runPython(source)", source)
        assert result["error"] is None, result
    page.evaluate(WAIT_FOR_STORED_PROGRAMS, min(2 * end, MAX_PROGRAMS))
    page.wait_for_timeout(500)      # until the deletions are done
    count = page.evaluate(COUNT_STORED_PROGRAMS)
    page.close()
    return count


def test_the_least_recently_used_programs_are_evicted(browser: Browser, site_url: str):
    context, url = browser.new_context(), f"{site_url}run.html"
    _, num_compiled = visit(context, url, 0)
    assert fill(context, url, 0, 190) <= MAX_PROGRAMS
    # The step is loaded from the cache, so the programs before it are older now.
    assert fill(context, url, 190, 240, also=STEP) == MAX_PROGRAMS
    _, num_compiled_again = visit(context, url, MAX_PROGRAMS)
    assert num_compiled >= 1 and num_compiled_again == 0
    context.close()


LARGE = """
import tensorbrook as tf
table = [[float(i + j) for j in range(1024)] for i in range(1100)]        # 4.5 MB of constants

@tf.function
def f(x):
    return tf.reduce_sum(tf.constant(table) * x)

print(float(f(tf.constant(0.0))), tf.config.get_counters()["compiled"])
"""


def test_a_program_with_large_constants_is_not_cached(browser: Browser, site_url: str):
    """It would evict the programs of many visits."""
    context = browser.new_context()
    page = open_page(context, f"{site_url}run.html")
    result = page.evaluate("source => tensorbrook.runPython(source)", LARGE)
    assert result["error"] is None, result
    num_compiled = int(result["stdout"].split()[1])
    page.evaluate(WAIT_FOR_STORED_PROGRAMS, num_compiled - 1)
    page.wait_for_timeout(500)
    assert page.evaluate(COUNT_STORED_PROGRAMS) == num_compiled - 1
    context.close()
