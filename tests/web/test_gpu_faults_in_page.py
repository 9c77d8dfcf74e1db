"""Device loss during training in a page: the device is destroyed, or the GPU process crashes.

A browser disables the GPU after a few crashes of its GPU process, so the tests of a crash use a
separate browser.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pages import open_page
from playwright.sync_api import Browser, Page

from tensorbrook.studio.browser import SOFTWARE_GPU, launch_options

TRANSPORTS = ("jspi", "worker")

TRAINING = """
import warnings
import tensorbrook as tf
from tensorbrook import backends, keras

tf.config.set_backend("webgpu")
host = backends.get_backend("webgpu").host

class LoseDevice(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        self.steps = getattr(self, "steps", 0) + 1
        if self.steps in self.lost_steps:
            host.host.destroy()

def train(*lost_steps):
    tf.random.set_seed(5)
    x = tf.random.normal((48, 6))
    y = tf.reduce_sum(x * x, axis=1, keepdims=True)
    model = keras.Sequential([keras.layers.Dense(8, activation="tanh"), keras.layers.Dropout(0.1),
                              keras.layers.Dense(1)])
    model.compile("adam", "mse")
    lose_device = LoseDevice()
    lose_device.lost_steps = lost_steps
    history = model.fit(x, y, epochs=3, batch_size=16, verbose=0, callbacks=[lose_device])
    return history.history["loss"], [w.tolist() for w in model.weights]

expected = train()
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    actual = train(2, 4, 9)
print(actual == expected)
for warning in caught:
    print(warning.message)
print(backends.get_backend("webgpu").is_lost, tf.config.get_backend())
"""

# Counts steps until the device loss, and some more: a lost or repeated step would show.
COUNTING = """
import time
import warnings
import tensorbrook as tf

tf.config.set_backend("webgpu")
v = tf.Variable([0.0, 100.0])
step = tf.function(lambda: v.assign_add([1.0, 2.0]))
steps, remaining, deadline = 0, 20, time.monotonic() + 40
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    while remaining and time.monotonic() < deadline:
        step()
        steps += 1
        remaining -= bool(caught)
        if steps % 50 == 0:
            assert v.tolist() == [steps, 100.0 + 2.0 * steps]
        if steps == 100:
            print("started")
print(v.tolist() == [steps, 100.0 + 2.0 * steps], remaining)
for warning in caught:
    print(warning.message)
"""
REFUSED = """
import warnings
import tensorbrook as tf
from tensorbrook.backends.webgpu import shader_templates

source = shader_templates.load_source
shader_templates.load_source = lambda name: source(name) + chr(10) + "fn broken( {" + chr(10)
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
# The intermediate values need a buffer of 1 GB, which SwiftShader fails to allocate.
OUT_OF_MEMORY = """
import tensorbrook as tf
from tensorbrook import backends

tf.config.set_backend("webgpu")
backend = backends.get_backend("webgpu")
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
TOO_LARGE = TRAINING.partition("expected = ")[0] + """
from tensorbrook.backends.webgpu import device_recovery

expected, most_kept = train(), device_recovery.MAX_CHECKPOINT_BYTES
device_recovery.MAX_CHECKPOINT_BYTES = 100
device_recovery.CHECKPOINT_INTERVAL_S, device_recovery.MAX_TIME_DIVISOR = 0.0, 0
host._due = 0.0
print(train() == expected, host._state)
try:
    train(3)
except tf.errors.UnavailableError as error:
    print(error)
print(backends.existing_backend("webgpu"))
device_recovery.MAX_CHECKPOINT_BYTES = most_kept
host = backends.get_backend("webgpu").host
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    print(train() == expected, train(4) == expected)
for warning in caught:
    print(warning.message)
"""
TAKEN_OVER = "another device has taken over, and nothing is lost"


@pytest.fixture
def own_browser(browser: Browser) -> Iterator[Browser]:
    chromium = browser.browser_type
    launched = chromium.launch(**launch_options(chromium.executable_path, extra_flags=SOFTWARE_GPU))
    yield launched
    launched.close()


def output_lines(result: dict) -> list[str]:
    assert result["error"] is None, result["error"]
    return result["stdout"].splitlines()


def run_lines(page: Page, source: str) -> list[str]:
    return output_lines(page.evaluate("source => tensorbrook.runPython(source)", source))


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_destroyed_device(gpu_browser: Browser, site_url: str, transport: str):
    page = open_page(gpu_browser, f"{site_url}run.html?gpu={transport}")
    equal, *warnings, state = run_lines(page, TRAINING)
    assert equal == "True" and state == "False webgpu"
    assert len(warnings) == 3
    assert all(w.startswith("webgpu: the GPU was lost") for w in warnings)
    assert all(w.endswith(TAKEN_OVER) for w in warnings)
    page.close()


def test_a_model_too_large_for_a_checkpoint(gpu_browser: Browser, site_url: str):
    page = open_page(gpu_browser, f"{site_url}run.html")
    trained, lost, backend, trained_again, *warnings = run_lines(page, TOO_LARGE)
    assert (trained, backend, trained_again) == ("True None", "None", "True True")
    assert lost.startswith("webgpu: the GPU was lost") and lost.endswith(
        ", and its contents were too large for a checkpoint; create the model again, or load a "
        'saved one; tf.config.set_backend("wasm") needs no GPU')
    assert len(warnings) == 1 and warnings[0].endswith(TAKEN_OVER)
    page.close()


def test_out_of_memory(gpu_browser: Browser, site_url: str):
    """The driver refuses every attempt at the allocation. The failed step changes no Variable, and
    training continues with a smaller batch."""
    page = open_page(gpu_browser, f"{site_url}run.html")
    *errors, unchanged, continued = run_lines(page, OUT_OF_MEMORY)
    assert (unchanged, continued) == ("True True", "True False")
    assert errors == [
        "memory: the device cannot allocate 1024 MB beside 0 MB in use (a buffer holds at most "
        "1024 MB); use a smaller batch or model"] * 2
    page.close()


def count_steps_during_crash(browser: Browser, page: Page) -> list[str]:
    page.evaluate("source => { window.counting = tensorbrook.runPython(source); }", COUNTING)
    page.wait_for_timeout(4000)
    browser.new_browser_cdp_session().send("Browser.crashGpuProcess")
    return output_lines(page.evaluate("window.counting"))


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_crash_of_the_gpu_process(own_browser: Browser, site_url: str, transport: str):
    page = open_page(own_browser, f"{site_url}run.html?gpu={transport}")
    started, exact, *warnings = count_steps_during_crash(own_browser, page)
    assert (started, exact) == ("started", "True 0")
    assert len(warnings) == 1 and warnings[0].endswith(TAKEN_OVER)


def test_an_invalid_shader_falls_back_to_the_cpu(gpu_browser: Browser, site_url: str):
    page = open_page(gpu_browser, f"{site_url}run.html")
    error, result = run_lines(page, REFUSED)
    assert error.startswith("webgpu: the GPU refused the kernel 'gemm': ")
    assert "fn broken( {" in error and error.endswith("please report this")
    assert result == "[[4.0, 4.0], [4.0, 4.0]] CPU:0"
    page.close()
