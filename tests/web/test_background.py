"""Training in a background tab: hiding and freezing the page do not change the results.

A headless browser never hides a page, so the test makes the page report that it is hidden, disables
its animation frames, and then freezes it, which is the strongest restriction of background tabs.
"""

from __future__ import annotations

import pytest
from pages import open_page
from playwright.sync_api import Browser, Page

TRAINING = """
import tensorbrook as tf

tf.config.set_backend("webgpu")
tf.random.set_seed(7)
x = tf.random.normal((256, 16))
y = tf.reduce_sum(x * x, axis=1, keepdims=True)
layers = tf.keras.layers
model = tf.keras.Sequential([layers.Dense(32, activation="tanh"), layers.Dense(1)])
model.compile("adam", "mse")
print("started")
print(model.fit(x, y, epochs=60, batch_size=32, verbose=0).history["loss"])
"""
HIDE = """() => {
  Object.defineProperty(document, "visibilityState", {get: () => "hidden"});
  Object.defineProperty(document, "hidden", {get: () => true});
  window.requestAnimationFrame = () => 0;
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def start_training(page: Page) -> None:
    page.evaluate("""async source => {
      const started = Promise.withResolvers();
      window.output = [];
      window.training = tensorbrook.runtime.run(source, {
        onStdout: (text) => { window.output.push(text); started.resolve(); },
      });
      await started.promise;
    }""", TRAINING)


def losses(page: Page) -> str:
    outcome = page.evaluate("window.training")
    assert outcome["error"] is None, outcome
    return page.evaluate("window.output.join('')").splitlines()[-1]


@pytest.mark.parametrize("transport", ("jspi", "worker"))
def test_training_continues(gpu_browser: Browser, site_url: str, transport: str):
    page = open_page(gpu_browser, f"{site_url}run.html?gpu={transport}")
    start_training(page)
    expected = losses(page)
    page.evaluate(HIDE)
    session = page.context.new_cdp_session(page)
    start_training(page)
    assert page.evaluate("window.output.length") == 1, "training must still run"
    session.send("Page.setWebLifecycleState", {"state": "frozen"})
    page.wait_for_timeout(500)
    session.send("Page.setWebLifecycleState", {"state": "active"})
    assert losses(page) == expected
    page.close()
