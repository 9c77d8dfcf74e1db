"""A page in the background: what the browser does to a tab that nobody looks at changes nothing.

A browser without a window shows every page, so the page is told that it is hidden, gets no frames
to draw, and is then frozen, which is the hardest that a browser does to a tab.
"""

from __future__ import annotations

import pytest
from pages import opened
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
print("begun")
print(model.fit(x, y, epochs=60, batch_size=32, verbose=0).history["loss"])
"""
HIDE = """() => {
  Object.defineProperty(document, "visibilityState", {get: () => "hidden"});
  Object.defineProperty(document, "hidden", {get: () => true});
  window.requestAnimationFrame = () => 0;
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def start(page: Page) -> None:
    page.evaluate("""async source => {
      const begun = Promise.withResolvers();
      window.told = [];
      window.trained = tensorbrook.runtime.run(source, {
        onStdout: (text) => { window.told.push(text); begun.resolve(); },
      });
      await begun.promise;
    }""", TRAINING)


def losses(page: Page) -> str:
    outcome = page.evaluate("window.trained")
    assert outcome["error"] is None, outcome
    return page.evaluate("window.told.join('')").splitlines()[-1]


@pytest.mark.parametrize("transport", ("jspi", "worker"))
def test_training_goes_on(gpu_browser: Browser, address: str, transport: str):
    page = opened(gpu_browser, f"{address}run.html?gpu={transport}")
    start(page)
    right = losses(page)
    page.evaluate(HIDE)
    session = page.context.new_cdp_session(page)
    start(page)
    assert page.evaluate("window.told.length") == 1, "it is under way"
    session.send("Page.setWebLifecycleState", {"state": "frozen"})
    page.wait_for_timeout(500)
    session.send("Page.setWebLifecycleState", {"state": "active"})
    assert losses(page) == right
    page.close()
