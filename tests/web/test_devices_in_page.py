"""tf.device and tf.config's devices in a page, without a GPU and with one the processor plays."""

from __future__ import annotations

from pages import opened
from playwright.sync_api import Browser, Page

SCRIPT = """
import array
import tensorbrook as tf

print([device.device_type for device in tf.config.list_physical_devices()])
w = tf.Variable(tf.ones((4, 4)))

@tf.function
def step(x):
    w.assign_sub(0.01 * tf.matmul(x, w))
    return tf.reduce_sum(w)

for name in ("/CPU:0", "/GPU:0", "/CPU:0"):
    with tf.device(name):
        print(round(float(step(tf.ones((4, 4)))), 3), w.device[-5:])
try:
    tf.sqrt(tf.constant(array.array("d", [4.0])))
except tf.errors.UnimplementedError as error:
    print(error)
tf.config.set_soft_device_placement(False)
try:
    with tf.device("/GPU:0"):
        print(tf.config.get_backend())
except tf.errors.UnavailableError as error:
    print(error)
tf.config.set_soft_device_placement(True)
"""
REFUSED = "sqrt: backend wasm cannot compute float64"


def lines(page: Page) -> list[str]:
    outcome = page.evaluate("source => tensorbrook.runPython(source)", SCRIPT)
    assert outcome["error"] is None
    return outcome["stdout"].splitlines()


def test_where_a_gpu_is(gpu_browser: Browser, address: str):
    page = opened(gpu_browser, f"{address}run.html")
    devices, *steps, refused, strict = lines(page)
    assert devices == "['CPU', 'GPU']" and strict == "webgpu"
    assert steps == ["15.36 CPU:0", "14.746 GPU:0", "14.156 CPU:0"]
    assert refused.startswith(REFUSED)
    page.close()


def test_where_none_is(runtime: Page):
    devices, *steps, refused, strict = lines(runtime)
    assert devices == "['CPU']" and refused.startswith(REFUSED)
    assert steps == ["15.36 CPU:0", "14.746 CPU:0", "14.156 CPU:0"]
    assert strict.startswith("tf.device: there is no GPU:0: the browser found no usable GPU")
