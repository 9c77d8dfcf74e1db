"""A page whose GPU is lost in the midst of a training: by its device, and by its process.

The crash of the process is a browser's own, of which each may see a few before it does without a
GPU; so these pages have a browser of their own.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pages import opened
from playwright.sync_api import Browser, Page

from tensorbrook.studio.browser import SOFTWARE_GPU, launch_options

TRANSPORTS = ("jspi", "worker")

TRAINING = """
import warnings
import tensorbrook as tf
from tensorbrook import backends, keras

tf.config.set_backend("webgpu")
host = backends.backend("webgpu").host

class Lose(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        self.seen = getattr(self, "seen", 0) + 1
        if self.seen in self.at:
            host.host.destroy()

def trained(*at):
    tf.random.set_seed(5)
    x = tf.random.normal((48, 6))
    y = tf.reduce_sum(x * x, axis=1, keepdims=True)
    model = keras.Sequential([keras.layers.Dense(8, activation="tanh"), keras.layers.Dropout(0.1),
                              keras.layers.Dense(1)])
    model.compile("adam", "mse")
    lose = Lose()
    lose.at = at
    history = model.fit(x, y, epochs=3, batch_size=16, verbose=0, callbacks=[lose])
    return history.history["loss"], [w.tolist() for w in model.weights]

right = trained()
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    found = trained(2, 4, 9)
print(found == right)
for one in told:
    print(one.message)
print(backends.get_backend("webgpu").is_lost, tf.config.get_backend())
"""

# Counts until the loss was met, and a little further: a step too few or too many would show.
COUNTING = """
import time
import warnings
import tensorbrook as tf

tf.config.set_backend("webgpu")
v = tf.Variable([0.0, 100.0])
step = tf.function(lambda: v.assign_add([1.0, 2.0]))
steps, left, until = 0, 20, time.monotonic() + 40
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    while left and time.monotonic() < until:
        step()
        steps += 1
        left -= bool(told)
        if steps % 50 == 0:
            assert v.tolist() == [steps, 100.0 + 2.0 * steps]
        if steps == 100:
            print("under way")
print(v.tolist() == [steps, 100.0 + 2.0 * steps], left)
for one in told:
    print(one.message)
"""
REFUSED = """
import warnings
import tensorbrook as tf
from tensorbrook.backends.webgpu import templates

source = templates.source
templates.source = lambda name: source(name) + chr(10) + "fn broken( {" + chr(10)
with tf.device("/GPU:0"):
    tf.config.set_soft_device_placement(False)
    try:
        tf.ones((2, 4)) @ tf.ones((4, 2))
    except tf.errors.InternalError as error:
        print(error)
    tf.config.set_soft_device_placement(True)
warnings.simplefilter("ignore")
with tf.device("/GPU:0"):
    x = tf.ones((2, 4)) @ tf.ones((4, 2))
    print(x.tolist(), x.device[-5:])
"""
# The values between take a buffer of 1 GB, for which SwiftShader has no memory when it is asked.
OUT_OF_MEMORY = """
import tensorbrook as tf
from tensorbrook import backends

tf.config.set_backend("webgpu")
backend = backends.backend("webgpu")
w = tf.Variable(tf.ones((1, 1 << 14)))

@tf.function
def step(x):
    w.assign_sub(1e-3 * tf.matmul(x, tf.tanh(tf.matmul(x, w)), transpose_a=True))
    return tf.reduce_sum(w)

first, in_use = float(step(tf.ones((4, 1)))), backend.memory.in_use
for _ in range(2):
    try:
        step(tf.ones((15700, 1)))
    except tf.errors.ResourceExhaustedError as error:
        print(error)
print(float(tf.reduce_sum(w)) == first, backend.memory.in_use - in_use < 1 << 20)
print(float(step(tf.ones((4, 1)))) < first, backend.is_lost)
"""
TOO_LARGE = TRAINING.partition("right = ")[0] + """
from tensorbrook.backends.webgpu import journal

right, most = trained(), journal.MOST_KEPT
journal.MOST_KEPT, journal.EVERY_S, journal.SHARE = 100, 0.0, 0
host._due = 0.0
print(trained() == right, host._state)
try:
    trained(3)
except tf.errors.UnavailableError as error:
    print(error)
print(backends.made("webgpu"))
journal.MOST_KEPT = most
host = backends.backend("webgpu").host
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    print(trained() == right, trained(4) == right)
for one in told:
    print(one.message)
"""
TAKEN_OVER = "another device has taken over where it stood, and nothing is lost"


@pytest.fixture
def own_browser(browser: Browser) -> Iterator[Browser]:
    chromium = browser.browser_type
    started = chromium.launch(**launch_options(chromium.executable_path, more=SOFTWARE_GPU))
    yield started
    started.close()


def lines(outcome: dict) -> list[str]:
    assert outcome["error"] is None, outcome["error"]
    return outcome["stdout"].splitlines()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_device_that_is_destroyed(gpu_browser: Browser, address: str, transport: str):
    page = opened(gpu_browser, f"{address}run.html?gpu={transport}")
    same, *told, state = lines(page.evaluate("source => tensorbrook.runPython(source)", TRAINING))
    assert same == "True" and state == "False webgpu"
    assert len(told) == 3
    assert all(t.startswith("webgpu: the GPU was lost") and t.endswith(TAKEN_OVER) for t in told)
    page.close()


def test_a_model_larger_than_what_is_kept(gpu_browser: Browser, address: str):
    page = opened(gpu_browser, f"{address}run.html")
    trains, lost, made, again, *told = lines(
        page.evaluate("source => tensorbrook.runPython(source)", TOO_LARGE))
    assert (trains, made, again) == ("True None", "None", "True True")
    assert lost.startswith("webgpu: the GPU was lost") and lost.endswith(
        ", and with it what it held, more than could be kept as well; make the model anew, or load "
        'what was saved of it; tf.config.set_backend("wasm") does without a GPU')
    assert len(told) == 1 and told[0].endswith(TAKEN_OVER)
    page.close()


def test_memory_that_runs_out(gpu_browser: Browser, address: str):
    """Truly: the driver refuses it, whenever it is asked. Variables are as before the step, and a
    smaller batch goes on."""
    page = opened(gpu_browser, f"{address}run.html")
    *told, same, goes_on = lines(
        page.evaluate("source => tensorbrook.runPython(source)", OUT_OF_MEMORY))
    assert (same, goes_on) == ("True True", "True False")
    assert told == ["memory: the device has no 1024 MB beside 0 MB in use (a buffer holds at most "
                    "1024 MB); use a smaller batch or model"] * 2
    page.close()


def counted_over_a_crash(browser: Browser, page: Page) -> list[str]:
    page.evaluate("source => { window.counted = tensorbrook.runPython(source); }", COUNTING)
    page.wait_for_timeout(4000)
    browser.new_browser_cdp_session().send("Browser.crashGpuProcess")
    return lines(page.evaluate("window.counted"))


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_gpu_process_that_crashes(own_browser: Browser, address: str, transport: str):
    page = opened(own_browser, f"{address}run.html?gpu={transport}")
    begun, exact, *told = counted_over_a_crash(own_browser, page)
    assert (begun, exact) == ("under way", "True 0")
    assert len(told) == 1 and told[0].endswith(TAKEN_OVER)


def test_a_shader_that_is_refused(gpu_browser: Browser, address: str):
    page = opened(gpu_browser, f"{address}run.html")
    said, kept_on = lines(page.evaluate("source => tensorbrook.runPython(source)", REFUSED))
    assert said.startswith("webgpu: the GPU refused the kernel 'gemm': ")
    assert "fn broken( {" in said and said.endswith("please report this")
    assert kept_on == "[[4.0, 4.0], [4.0, 4.0]] CPU:0"
    page.close()
