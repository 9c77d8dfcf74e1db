"""The site in Firefox and WebKit: boot, Python, training, drawing, stopping, a second visit."""

from __future__ import annotations

import json
from contextlib import closing

import numpy as np
import pytest
from drivers import Driver, Firefox, WebKit
from page import (capabilities, click, figure, open_page, run_python, save_picture, text,
                  wait_until)
from page_scripts import STEP
from sites import answer_script

from tensorbrook.studio.server import Server

# The build of the engine, and whether the browser has JSPI; both lack WebGPU on Linux.
EXPECTED = {"firefox": ("threads", True), "webkit": ("threads-simd", False)}

COMPUTE = """
import tensorbrook as tf
tf.random.set_seed(3)
x, w = tf.random.normal((32, 14, 14, 8)), tf.random.normal((3, 3, 8, 16))
y = tf.nn.gelu(tf.nn.conv2d(x, w, padding="SAME"))
rows = tf.nn.softmax(tf.reshape(y, (32, -1)) @ tf.random.normal((3136, 64)) / 60.0)
results = [tf.reduce_mean(y), tf.reduce_max(rows), tf.reduce_sum(tf.sin(rows) * tf.exp(rows))]
"""
PRINT = "print([float(x) for x in results])"
# Sums of up to 3,136 products in float32, in another order or without fused multiply-add.
TOLERANCE = 1e-4

ENDLESS = "print('started', flush=True)\nwhile True: pass"
STOP = """(async () => {
  const started = Promise.withResolvers();
  const running = tensorbrook.runtime.run(%s, { onStdout: started.resolve });
  await started.promise;
  const restarts = [];
  const unsubscribe = tensorbrook.runtime.onEvent(({ kind, reason }) => {
    if (kind === "restarting") restarts.push(reason);
  });
  tensorbrook.runtime.stop();
  const { error, exit_code } = await running;
  unsubscribe();
  return [error, exit_code, restarts];
})()"""

STORED = """(async () => {
  const stores = await Promise.all((await caches.keys()).map((name) => caches.open(name)));
  const stored = await Promise.all(stores.map((store) => store.keys()));
  return stored.flat().length;
})()"""


def assert_computes(driver: Driver) -> None:
    """The results agree with those of the native host."""
    result = run_python(driver, COMPUTE + PRINT)
    assert result["error"] is None, result
    namespace: dict = {}
    exec(COMPUTE, namespace)
    expected = [float(value) for value in namespace["results"]]
    np.testing.assert_allclose(json.loads(result["stdout"]), expected, rtol=TOLERANCE)


def stop_endless_script(driver: Driver) -> list[str]:
    """Run and stop an endless script; returns the reasons of the runtime's restarts."""
    error, exit_code, restarts = driver.evaluate(STOP % json.dumps(ENDLESS))
    assert exit_code == 130 and "KeyboardInterrupt" in error
    return restarts


# ── the runtime ──


def test_fastest_build_that_the_browser_supports_runs_on_threads(runtime: Driver):
    build, has_jspi = EXPECTED[runtime.name]
    found = capabilities(runtime)
    assert (found["isolated"], found["engine"], found["threads"]) == (True, build, 2)
    assert runtime.evaluate("'Suspending' in WebAssembly") is has_jspi
    # A snapshot of Python works only with JSPI.
    assert found["fromSnapshot"] is has_jspi


def test_results_equal_those_of_the_native_host(runtime: Driver):
    assert_computes(runtime)


def test_traceback_points_at_the_line(runtime: Driver):
    error = run_python(runtime, "x = 1\nx / 0")["error"]
    assert 'File "main.py", line 2' in error and "ZeroDivisionError" in error


def test_endless_loop_stops_and_the_runtime_survives(runtime: Driver):
    run_python(runtime, "import sys\nsys.kept = 'the same interpreter'")
    assert stop_endless_script(runtime) == []
    output = run_python(runtime, "import sys\nprint(sys.kept)")["stdout"]
    assert output == "the same interpreter\n"


def test_browser_without_webgpu_says_so(runtime: Driver):
    gpu = capabilities(runtime)["gpu"]
    assert gpu == {"present": False, "reason": "this browser has no WebGPU"}
    source = "import tensorbrook as tf\ntf.config.set_backend('webgpu')"
    assert "this browser has no WebGPU" in run_python(runtime, source)["error"]


def test_second_visit_compiles_nothing(runtime: Driver, site_url: str):
    first = run_python(runtime, STEP)
    assert first["error"] is None, first
    losses, compiled = first["stdout"].rsplit(" ", 1)
    wait_until(runtime, lambda: runtime.evaluate(STORED) >= int(compiled))
    runtime.open("about:blank")
    open_page(runtime, f"{site_url}run.html?threads=2")
    assert run_python(runtime, STEP)["stdout"] == f"{losses} 0\n"


# ── the Studio ──


def test_studio_trains_draws_and_runs_code(driver: Driver, site_url: str):
    open_page(driver, site_url)
    wait_until(driver, lambda: text(driver, "status") == "Ready.")
    save_picture(driver, "start")

    click(driver, "train")
    wait_until(driver, lambda: figure(driver, "epoch") >= 6)
    click(driver, "pause")
    wait_until(driver, lambda: text(driver, "status") == "Paused.")
    assert figure(driver, "test-accuracy") > 80
    save_picture(driver, "trained")

    draw_a_one(driver)
    best = "document.querySelector('[data-testid=prediction] .best .digit').innerText"
    wait_until(driver, lambda: driver.evaluate(best).strip() == "1")
    save_picture(driver, "drawn")

    click(driver, "view-code")
    wait_until(driver, lambda: text(driver, "code") != "")
    click(driver, "run")
    wait_until(driver, lambda: "y = 2.00 x + 1.00" in text(driver, "output"))
    save_picture(driver, "code")


def draw_a_one(driver: Driver) -> None:
    driver.evaluate("document.querySelector('[data-testid=draw]').scrollIntoView()")
    x, y, width, height = driver.evaluate(
        "(({ x, y, width, height }) => [x, y, width, height])"
        "(document.querySelector('[data-testid=draw]').getBoundingClientRect())")
    driver.drag([(x + 0.5 * width, y + part * height) for part in (0.15, 0.4, 0.6, 0.85)])


# ── failures ──


BROKEN_SCRIPTS = {"raises": ("throw new Error('broken on purpose')", 200, "broken on purpose"),
                  "is missing": ("", 404, "could not be loaded")}


@pytest.mark.parametrize("script, element", [("index", "page-failure"), ("worker", "status")])
@pytest.mark.parametrize("name", BROKEN_SCRIPTS)
def test_failure_of_a_script_is_shown(page_build, driver: Driver, name: str, script: str,
                                      element: str):
    body, status, reason = BROKEN_SCRIPTS[name]
    with Server(routes=[answer_script(script, body, status)]) as server:
        driver.open(server.url)
        wait_until(driver, lambda: reason in text(driver, element))


# ── pages and browsers that lack something ──


def test_page_without_isolation_runs_on_one_thread(driver: Driver, unisolated_url: str):
    found = open_page(driver, f"{unisolated_url}run.html")
    assert (found["isolated"], found["threads"]) == (False, 1)
    assert "cross-origin isolation" in text(driver, "notice")
    assert_computes(driver)
    assert stop_endless_script(driver) == ["this page has no shared memory"]
    assert run_python(driver, "print('restarted')")["stdout"] == "restarted\n"


def test_firefox_without_jspi(programs, site_url: str):
    preferences = {"javascript.options.wasm_js_promise_integration": False}
    with closing(Firefox(programs.firefox, preferences)) as driver:
        found = open_page(driver, f"{site_url}run.html?threads=2")
        assert driver.evaluate("'Suspending' in WebAssembly") is False
        assert (found["fromSnapshot"], found["engine"]) == (False, "threads")
        assert_computes(driver)
        assert stop_endless_script(driver) == []


def test_webkit_without_shared_memory_and_locale(programs, site_url: str):
    """An isolated page in which SharedArrayBuffer is missing, and the language is `C`."""
    environment = {"JSC_useSharedArrayBuffer": "0", "LANG": "C"}
    with closing(WebKit(programs, environment)) as driver:
        found = open_page(driver, site_url)
        assert driver.evaluate("[crossOriginIsolated, typeof SharedArrayBuffer]") == \
            [True, "undefined"]
        wait_until(driver, lambda: text(driver, "status") == "Ready.")
        assert "no shared memory" in text(driver, "notice")
        assert (found["engine"], found["threads"]) == ("simd", 1)
        save_picture(driver, "one-thread")

