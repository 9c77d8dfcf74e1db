"""The page's runtime: boot, running Python, errors, interrupts and restarts."""

from __future__ import annotations

import time

import pytest
from pages import open_page, run_and_stop
from playwright.sync_api import Browser, Error, Page

ENDLESS = "print('started', flush=True)\nwhile True: pass"
RANDOM_NUMBER = "import random\nprint(random.random())"
SHUTDOWN_SECONDS = 20  # for a busy machine: the browser ends the workers of a page with a delay
UNINTERRUPTIBLE = "while True:\n    try:\n        while True: pass\n    except BaseException: pass"


def run_python(page: Page, source: str) -> dict:
    return page.evaluate("source => tensorbrook.runPython(source)", source)


def capabilities(page: Page) -> dict:
    return page.evaluate("tensorbrook.runtime.boot()")


def test_an_isolated_page_runs_on_threads(runtime: Page):
    assert runtime.evaluate("crossOriginIsolated") is True
    caps = capabilities(runtime)
    assert (caps["isolated"], caps["engine"], caps["threads"]) == (True, "threads", 2)
    assert caps["backend"] == "wasm"
    assert "threads: 2" in runtime.get_by_test_id("status").inner_text()
    assert runtime.get_by_test_id("notice").is_hidden()


def test_the_default_is_a_thread_per_core(browser: Browser, site_url: str):
    page = open_page(browser, f"{site_url}run.html")
    cores = page.evaluate("navigator.hardwareConcurrency")
    assert capabilities(page)["threads"] == min(cores, 8)
    page.close()


@pytest.mark.parametrize(("engine", "threads"), [
    ("threads", 2), ("threads-simd", 2), ("relaxed", 1), ("simd", 1)])
def test_every_build_of_the_engine_boots_and_computes(
        browser: Browser, site_url: str, engine: str, threads: int):
    page = open_page(browser, f"{site_url}run.html?engine={engine}&threads=2")
    caps = capabilities(page)
    assert (caps["engine"], caps["threads"]) == (engine, threads)
    assert run_python(page, COMPUTE) == {"stdout": "[5.0, 11.0]\n", "stderr": "", "error": None}
    assert page.get_by_test_id("notice").is_visible() == (threads == 1)
    page.close()


COMPUTE = """
import tensorbrook as tf
x = tf.constant([[1., 2.], [3., 4.]])
print(tf.reshape(x @ tf.constant([[1.], [2.]]), (2,)).tolist())
"""


def test_interpreters_of_one_snapshot_have_different_random_states(
        runtime: Page, browser: Browser, site_url: str):
    page = open_page(browser, f"{site_url}run.html")
    assert capabilities(page)["fromSnapshot"] and capabilities(runtime)["fromSnapshot"]
    numbers = [run_python(each, RANDOM_NUMBER)["stdout"] for each in (page, runtime)]
    assert numbers[0] != numbers[1]
    page.close()


def test_python_starts_cold_if_the_snapshot_is_of_another_wheel(browser: Browser, site_url: str):
    page = browser.new_page()
    snapshot = b"\2\0\0\0\4\0\0\0{}none"  # the lengths of header and wheel, then header and wheel
    page.route("**/python.snapshot", lambda route: route.fulfill(body=snapshot))
    page.goto(f"{site_url}run.html?threads=2")
    assert capabilities(page)["fromSnapshot"] is False
    assert run_python(page, COMPUTE)["stdout"] == "[5.0, 11.0]\n"
    page.close()


def test_python_computes_on_threads(runtime: Page):
    assert run_python(runtime, COMPUTE) == {"stdout": "[5.0, 11.0]\n", "stderr": "", "error": None}


def test_both_streams_are_returned(runtime: Page):
    source = "import sys\nprint('out')\nprint('err', file=sys.stderr)\nprint('ünï', end='')"
    assert run_python(runtime, source) == {"stdout": "out\nünï", "stderr": "err\n", "error": None}


def test_every_script_has_a_fresh_main_module(runtime: Page):
    run_python(runtime, "left_over = 1")
    assert "NameError" in run_python(runtime, "left_over")["error"]
    name = run_python(runtime, "print(__name__, __file__.rpartition('/')[2])")["stdout"]
    assert name == "__main__ main.py\n"


TRACEBACKS = {
    "an exception": ("x = 1\n\ndef f():\n    return x / 0\nf()", [
        'File "main.py", line 5, in <module>', 'File "main.py", line 4, in f',
        "    return x / 0", "ZeroDivisionError: division by zero"]),
    "a syntax error": ("x = (", ['File "main.py", line 1', "SyntaxError"]),
    "an exception while another is handled": (
        "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise KeyError('k') from e",
        ['File "main.py", line 2', "direct cause", 'File "main.py", line 4', "KeyError: 'k'"]),
    "an error of the package": (
        "import tensorbrook as tf\n\ntf.constant([1., 2.]) @ tf.constant([[1.]])",
        ['File "main.py", line 3, in <module>', "matmul"]),
}


@pytest.mark.parametrize("name", TRACEBACKS)
def test_a_traceback_points_at_the_users_line(runtime: Page, name: str):
    source, expected = TRACEBACKS[name]
    error = run_python(runtime, source)["error"]
    for text in expected:
        assert text in error
    for internal in ("<runtime>", "_pyodide", "/lib/tensorbrook", "/home/pyodide"):
        assert internal not in error


EXITS = {"sys.exit(3)": (3, ""), "sys.exit()": (0, ""), "sys.exit('why')": (1, "why\n"),
         "raise SystemExit(True)": (1, "")}


@pytest.mark.parametrize("statement", EXITS)
def test_exit_codes(runtime: Page, statement: str):
    source = f"import sys\n{statement}"
    result = runtime.evaluate("source => tensorbrook.runtime.run(source)", source)
    assert (result["exit_code"], result["stderr"]) == EXITS[statement]
    assert result["error"] is None


def test_a_script_may_await_a_promise(runtime: Page):
    source = "import asyncio\nasyncio.run(asyncio.sleep(0.01))\nprint('woke')"
    assert run_python(runtime, source)["stdout"] == "woke\n"


def test_a_script_starts_in_an_empty_folder(runtime: Page):
    source = "import os\nos.makedirs('a/b')\nos.symlink('a', 'c')\nprint(sorted(os.listdir('.')))"
    for _ in range(2):
        assert run_python(runtime, source)["stdout"] == "['a', 'c', 'main.py']\n"


def test_stdin_is_empty(runtime: Page):
    assert "EOFError" in run_python(runtime, "input()")["error"]


def test_output_arrives_while_the_script_runs(runtime: Page):
    output = runtime.evaluate("""async (source) => {
      const output = [];
      await tensorbrook.runtime.run(source, { onStdout: (text) => {
        output.push(text);
        tensorbrook.runtime.stop();
      } });
      return output;
    }""", ENDLESS)
    assert output == ["started\n"]


def test_an_endless_loop_stops_and_the_runtime_survives(runtime: Page):
    run_python(runtime, "import sys\nsys.kept = 'the same interpreter'")
    outcome, restarts = run_and_stop(runtime, ENDLESS)
    assert restarts == []
    assert outcome["stdout"] == "started\n"
    assert outcome["exit_code"] == 130
    assert 'File "main.py", line 2' in outcome["error"]
    assert run_python(runtime, "import sys\nprint(sys.kept)")["stdout"] == "the same interpreter\n"


def test_an_endless_output_waits_for_the_page_and_stops(runtime: Page):
    outcome, restarts = run_and_stop(runtime, "while True: print('x' * 100)", after_ms=1000)
    assert restarts == []
    assert outcome["exit_code"] == 130
    assert run_python(runtime, "print('alive')")["stdout"] == "alive\n"


def test_an_interrupt_is_handled_at_any_time(runtime: Page):
    """Before the script's first line, while it starts, and at each point of Python's polling."""
    run_python(runtime, "import sys\nsys.kept = 'the same interpreter'")
    for after_ms in [*range(8)] * 5:
        outcome, restarts = run_and_stop(runtime, ENDLESS, after_ms)
        assert (outcome["exit_code"], restarts) == (130, []), after_ms
        assert "KeyboardInterrupt" in outcome["error"]
    assert run_python(runtime, "import sys\nprint(sys.kept)")["stdout"] == "the same interpreter\n"


def test_stop_between_scripts_interrupts_nothing(runtime: Page):
    runtime.evaluate("tensorbrook.runtime.stop()")
    assert run_python(runtime, "print('done')")["stdout"] == "done\n"


def test_a_script_that_ignores_the_interrupt_is_terminated(browser: Browser, site_url: str):
    page = open_page(browser, f"{site_url}run.html?threads=2")
    outcome, restarts = run_and_stop(page, UNINTERRUPTIBLE)
    assert restarts == ["the script ignored the interrupt"]
    assert outcome["exit_code"] == 130
    assert run_python(page, COMPUTE)["stdout"] == "[5.0, 11.0]\n"
    page.close()


SURVIVABLE_ERRORS = {
    "out of memory": (
        "import tensorbrook as tf\ntf.zeros((40000, 40000)) + 1.0", "use a smaller batch or model"),
    "endless recursion": ("def f(): return f()\nf()", "RecursionError"),
    "an exception without text": (
        "class Bad(Exception):\n    def __str__(self): raise ValueError\nraise Bad", "Bad"),
}


@pytest.mark.parametrize("name", SURVIVABLE_ERRORS)
def test_the_runtime_survives(runtime: Page, name: str):
    source, expected = SURVIVABLE_ERRORS[name]
    run_python(runtime, "import sys\nsys.kept = 'the same interpreter'")
    error = run_python(runtime, source)["error"]
    assert expected in error
    assert 'File "main.py", line 2' in error or 'File "main.py", line 3' in error
    assert run_python(runtime, "import sys\nprint(sys.kept)")["stdout"] == "the same interpreter\n"
    assert run_python(runtime, COMPUTE)["stdout"] == "[5.0, 11.0]\n"


# (module (func (export "run") (param i32 i32)
#   (if (i32.eq (local.get 0) (i32.const THREAD)) (then unreachable))))
TRAP = """
from tensorbrook.eager import EAGER
host = EAGER.backend.host
module = bytes.fromhex(
    "0061736d0100000001060160027f7f00030201000707010372756e00000a"
    "0d010b00200041%02x460440000b0b")
program = host.load(module)
host.run(program, host.heap_base)
"""


@pytest.mark.parametrize(("thread", "error"), [(0, "unreachable"), (1, "a helper thread failed")])
def test_a_trap_in_a_program_raises_an_error_and_blocks_no_thread(
        runtime: Page, thread: int, error: str):
    assert error in run_python(runtime, TRAP % thread)["error"]
    assert run_python(runtime, COMPUTE)["stdout"] == "[5.0, 11.0]\n"


def test_a_crash_of_python_restarts_it(browser: Browser, site_url: str):
    page = open_page(browser, f"{site_url}run.html?threads=2")
    result = run_python(page, "import _pyodide_core\n_pyodide_core.trigger_fatal_error()")
    assert result["error"]
    assert run_python(page, COMPUTE)["stdout"] == "[5.0, 11.0]\n"
    page.close()


def test_a_page_without_isolation_runs_on_one_thread_and_shows_a_notice(
        browser: Browser, unisolated_url: str):
    page = open_page(browser, f"{unisolated_url}run.html")
    assert page.evaluate("crossOriginIsolated") is False
    caps = capabilities(page)
    assert (caps["isolated"], caps["engine"], caps["threads"]) == (False, "relaxed", 1)
    notice = page.get_by_test_id("notice")
    assert notice.is_visible()
    assert "one thread" in notice.inner_text()
    assert run_python(page, COMPUTE)["stdout"] == "[5.0, 11.0]\n"

    outcome, restarts = run_and_stop(page, ENDLESS)
    assert restarts == ["this page has no shared memory"]
    assert outcome["exit_code"] == 130
    assert run_python(page, "print('restarted')")["stdout"] == "restarted\n"
    page.close()


def test_a_script_can_be_stopped_before_python_is_ready(browser: Browser, site_url: str):
    page = browser.new_page()
    page.goto(f"{site_url}run.html?threads=2")
    outcome, restarts = run_and_stop(page, ENDLESS, after_ms=0)
    assert (outcome["exit_code"], outcome["stdout"], restarts) == (130, "", [])
    assert run_python(page, "print('ready')")["stdout"] == "ready\n"
    page.close()


def test_a_page_restored_from_the_browser_cache_restarts(browser: Browser, site_url: str):
    page = open_page(browser, f"{site_url}run.html?threads=2")
    running = page.evaluate_handle("source => ({ result: tensorbrook.runPython(source) })", ENDLESS)
    page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))")
    assert "KeyboardInterrupt" in page.evaluate("running => running.result", running)["error"]
    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    assert run_python(page, "print('back')")["stdout"] == "back\n"
    page.close()


def test_the_error_of_a_failed_boot_is_shown(browser: Browser, site_url: str):
    page = browser.new_page()
    page.route("**/engine-threads.wasm", lambda route: route.fulfill(status=404))
    page.goto(f"{site_url}run.html")
    with pytest.raises(Error, match="engine-threads.wasm answered 404; build the page again"):
        capabilities(page)
    page.get_by_text("Could not start").wait_for()
    with pytest.raises(Error, match="answered 404"):
        run_python(page, "print(1)")
    page.close()


def cpu_seconds(browser: Browser) -> float:
    """The CPU seconds that the browser's pages have used so far."""
    session = browser.new_browser_cdp_session()
    processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
    session.detach()
    return sum(p["cpuTime"] for p in processes if p["type"] == "renderer")


@pytest.mark.parametrize("leave", [lambda page: page.close(),
                                   lambda page: page.goto("about:blank")],
                         ids=["closed", "left"])
def test_a_page_that_is_left_stops_computing(browser: Browser, site_url: str, leave):
    page = open_page(browser, f"{site_url}run.html?threads=2")
    page.evaluate("source => void tensorbrook.runPython(source)", ENDLESS)
    time.sleep(0.3)
    before = cpu_load(browser)
    assert before > 0.02
    leave(page)
    assert any(cpu_load(browser) < before / 4 for _ in range(SHUTDOWN_SECONDS))
    if not page.is_closed():
        page.close()


def cpu_load(browser: Browser) -> float:
    """The CPU seconds that the browser's pages use within one second."""
    before = cpu_seconds(browser)
    time.sleep(1)
    return cpu_seconds(browser) - before
