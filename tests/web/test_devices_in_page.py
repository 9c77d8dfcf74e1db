"""tf.device and the devices of tf.config in a page, with a software adapter and without a GPU."""

from __future__ import annotations

from pages import open_page
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


def output_lines(page: Page) -> list[str]:
    outcome = page.evaluate("source => tensorbrook.runPython(source)", SCRIPT)
    assert outcome["error"] is None
    return outcome["stdout"].splitlines()


def test_with_a_gpu(gpu_browser: Browser, site_url: str):
    page = open_page(gpu_browser, f"{site_url}run.html")
    devices, *steps, refused, strict = output_lines(page)
    assert devices == "['CPU', 'GPU']" and strict == "webgpu"
    assert steps == ["15.36 CPU:0", "14.746 GPU:0", "14.156 CPU:0"]
    assert refused.startswith(REFUSED)
    page.close()


def test_without_a_gpu(runtime: Page):
    devices, *steps, refused, strict = output_lines(runtime)
    assert devices == "['CPU']" and refused.startswith(REFUSED)
    assert steps == ["15.36 CPU:0", "14.746 CPU:0", "14.156 CPU:0"]
    assert strict.startswith("tf.device: GPU:0 is not available: the browser found no usable GPU")
