"""A second visit finds the programs that the first one compiled."""

from __future__ import annotations

from pages import opened
from playwright.sync_api import Browser, BrowserContext

STEP = """
import tensorbrook as tf
w = tf.Variable([[1.0], [2.0]])

@tf.function
def step(x):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(x @ w))
    w.assign_sub(0.1 * tape.gradient(loss, w))
    return loss

print([float(step(tf.ones((4, 2)))) for _ in range(3)], tf.config.get_counters()["compiled"])
"""
WRITTEN = """
async (count) => {
  for (;;) {
    const names = await caches.keys();
    const stores = await Promise.all(names.map((name) => caches.open(name)));
    const stored = await Promise.all(stores.map((store) => store.keys()));
    if (names.length === 1 && stored[0].length >= count) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}"""


def visit(context: Browser | BrowserContext, url: str, wait_for: int) -> tuple[str, int]:
    """What the script printed on a page of its own, and how many programs it had to compile."""
    page = opened(context, url)
    result = page.evaluate("source => tensorbrook.runPython(source)", STEP)
    assert result["error"] is None, result
    losses, compiled = result["stdout"].rsplit(" ", 1)
    page.evaluate(WRITTEN, wait_for or int(compiled))
    page.close()
    return losses, int(compiled)


def test_a_second_visit_compiles_nothing(browser: Browser, address: str):
    context = browser.new_context()
    first, compiled = visit(context, f"{address}run.html", 0)
    second, again = visit(context, f"{address}run.html", compiled)
    assert compiled >= 1 and again == 0
    assert first == second
    other, elsewhere = visit(context, f"{address}run.html?engine=simd", compiled)
    assert elsewhere == compiled, "another build of the engine has programs of its own"
    context.close()


def test_programs_of_another_build_are_dropped(browser: Browser, address: str):
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{address}run.html")
    page.evaluate("caches.open('tensorbrook programs of an older wheel')")
    page.close()
    visit(context, f"{address}run.html", 0)        # waits until there is one store alone
    context.close()
