"""Print the table of docs/browsers.md: the speed of Firefox and WebKit beside that of Chromium.

    python tests/browsers/measure.py        # after python build_scripts/test.py --browsers
"""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack, closing
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2] / name) for name in ("tests", "build_scripts")]

import firefox_webkit
from drivers import Driver, Firefox, WebKit
from page import open_page, run_python
from playwright.sync_api import sync_playwright

from tensorbrook.studio.browser import launch_options
from tensorbrook.studio.server import Server

ROUNDS = 6          # the browsers take turns, and the best time of each counts
THREADS = (1, 2)

PROGRAM = """
import json, time
import tensorbrook as tf
from tensorbrook.keras import Sequential, layers, losses, optimizers

def time_ms(f, seconds=0.5):
    f(), f()
    best, end = 1e9, time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        f()
        best = min(best, time.perf_counter() - start)
    return 1e3 * best

def training_step(model, x, y):
    model.compile(optimizer=optimizers.Adam(), loss=losses.SparseCategoricalCrossentropy(True))
    return lambda: model.train_on_batch(x, y)

tf.random.set_seed(0)
a, b = tf.random.normal((512, 512)), tf.random.normal((512, 512))
rows = tf.random.normal((1000, 1000))
labels = tf.cast(tf.random.uniform((64,)) * 10.0, "int32")
matmul = tf.function(lambda: a @ b)
softmax = tf.function(lambda: tf.reduce_sum(tf.nn.softmax(rows)))
conv_net = Sequential([
    layers.Input((28, 28, 1)), layers.Conv2D(32, 3, activation="relu"), layers.MaxPooling2D(2),
    layers.Conv2D(64, 3, activation="relu"), layers.MaxPooling2D(2), layers.Flatten(),
    layers.Dense(128, activation="relu"), layers.Dense(10)])
dense_net = Sequential([layers.Input((784,)), layers.Dense(256, activation="relu"),
                        layers.Dense(128, activation="relu"), layers.Dense(10)])
print(json.dumps({
    "matrix product of 512": time_ms(matmul),
    "softmax of 1000 x 1000 and its sum": time_ms(softmax),
    "training step of a convolutional network":
        time_ms(training_step(conv_net, tf.random.normal((64, 28, 28, 1)), labels), 1.5),
    "training step of a dense network":
        time_ms(training_step(dense_net, tf.random.normal((64, 784)), labels), 1.0),
}))
"""
PYTHON_START = "start of Python"
TITLES = {"firefox": "Firefox", "webkit": "WebKit"}


def plain(value: float) -> str:
    """Three significant digits without an exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


class Chromium:
    """The part of a driver that a measurement needs, by Playwright."""

    name = "chromium"

    def __init__(self):
        self._stack = ExitStack()
        chromium = self._stack.enter_context(sync_playwright()).chromium
        browser = chromium.launch(**launch_options(chromium.executable_path))
        self._stack.callback(browser.close)
        self._page = browser.new_page()

    def open(self, url: str) -> None:
        self._page.goto(url)

    def evaluate(self, expression: str):
        return self._page.evaluate(expression)

    def close(self) -> None:
        self._stack.close()


def measure(driver: Driver) -> dict[str, float]:
    """Milliseconds by workload, in the open page."""
    result = run_python(driver, PROGRAM)
    if result["error"]: sys.exit(f"{driver.name}: {result['error']}")
    return json.loads(result["stdout"])


def print_table(drivers: list[Driver], url: str, threads: int) -> None:
    best: dict[str, dict[str, float]] = {}
    for driver in drivers:
        capabilities = open_page(driver, f"{url}run.html?threads={threads}")
        best[driver.name] = {PYTHON_START: capabilities["bootMs"]["python"]}
    for _ in range(ROUNDS):
        for driver in drivers:
            for name, time_ms in measure(driver).items():
                previous = best[driver.name].get(name, time_ms)
                best[driver.name][name] = min(previous, time_ms)
    chromium, *others = best
    print(f"\n| {threads} thread{'s' * (threads > 1)} | Chromium, ms | "
          + " | ".join(f"{TITLES[name]}, ms | ratio" for name in others) + " |")
    print("|---" * (2 + 2 * len(others)) + "|")
    for name, reference in best[chromium].items():
        cells = [f"{plain(best[other][name])} | {best[other][name] / reference:.2f}"
                 for other in others]
        print(f"| {name} | {plain(reference)} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    programs = firefox_webkit.find()
    with Server() as server, closing(Chromium()) as chromium, \
            closing(Firefox(programs.firefox)) as firefox, closing(WebKit(programs)) as webkit:
        for threads in THREADS:
            print_table([chromium, firefox, webkit], server.url, threads)


if __name__ == "__main__":
    main()
