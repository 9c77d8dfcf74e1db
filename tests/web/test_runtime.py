"""The page runtime: how it comes up, runs Python, says what went wrong, and stops."""

from __future__ import annotations

import time

import pytest
from pages import opened, stopped
from playwright.sync_api import Browser, Error, Page

ENDLESS = "print('begun', flush=True)\nwhile True: pass"
DRAW = "import random\nprint(random.random())"
SECONDS_TO_LEAVE = 20  # on a machine that is busy; what is left takes a moment to tidy up
DEAF = "while True:\n    try:\n        while True: pass\n    except BaseException: pass"


def run_python(page: Page, source: str) -> dict:
    return page.evaluate("source => tensorbrook.runPython(source)", source)


def capabilities(page: Page) -> dict:
    return page.evaluate("tensorbrook.runtime.boot()")


def test_an_isolated_page_runs_on_threads(runtime: Page):
    assert runtime.evaluate("crossOriginIsolated") is True
    found = capabilities(runtime)
    assert (found["isolated"], found["engine"], found["threads"]) == (True, "threads", 2)
    assert found["backend"] == "wasm"
    assert "threads: 2" in runtime.get_by_test_id("status").inner_text()
    assert runtime.get_by_test_id("notice").is_hidden()


def test_it_takes_a_thread_for_each_core(browser: Browser, address: str):
    page = opened(browser, f"{address}run.html")
    cores = page.evaluate("navigator.hardwareConcurrency")
    assert capabilities(page)["threads"] == min(cores, 8)
    page.close()


@pytest.mark.parametrize("engine", ["relaxed", "simd"])
def test_every_build_of_the_engine_boots_and_computes(browser: Browser, address: str, engine: str):
    page = opened(browser, f"{address}run.html?engine={engine}")
    found = capabilities(page)
    assert (found["engine"], found["threads"]) == (engine, 1)
    assert run_python(page, COMPUTE) == {"stdout": "[5.0, 11.0]\n", "stderr": "", "error": None}
    assert "one thread" in page.get_by_test_id("notice").inner_text()
    page.close()


COMPUTE = """
import tensorbrook as tf
x = tf.constant([[1., 2.], [3., 4.]])
print(tf.reshape(x @ tf.constant([[1.], [2.]]), (2,)).tolist())
"""


def test_python_comes_from_the_image_yet_draws_numbers_of_its_own(
        runtime: Page, browser: Browser, address: str):
    page = opened(browser, f"{address}run.html")
    assert capabilities(page)["fromSnapshot"] and capabilities(runtime)["fromSnapshot"]
    assert run_python(page, DRAW)["stdout"] != run_python(runtime, DRAW)["stdout"]
    page.close()


def test_python_starts_afresh_where_the_image_is_of_another_wheel(
        browser: Browser, address: str):
    page = browser.new_page()
    image = b"\2\0\0\0\4\0\0\0{}none"  # the lengths of its list and its wheel, and these
    page.route("**/python.snapshot", lambda route: route.fulfill(body=image))
    page.goto(f"{address}run.html?threads=2")
    assert capabilities(page)["fromSnapshot"] is False
    assert run_python(page, COMPUTE)["stdout"] == "[5.0, 11.0]\n"
    page.close()


def test_python_computes_on_threads(runtime: Page):
    assert run_python(runtime, COMPUTE) == {"stdout": "[5.0, 11.0]\n", "stderr": "", "error": None}


def test_both_streams_come_back(runtime: Page):
    source = "import sys\nprint('out')\nprint('err', file=sys.stderr)\nprint('ünï', end='')"
    assert run_python(runtime, source) == {"stdout": "out\nünï", "stderr": "err\n", "error": None}


def test_every_script_starts_afresh(runtime: Page):
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
    "an error of ours": (
        "import tensorbrook as tf\n\ntf.constant([1., 2.]) @ tf.constant([[1.]])",
        ['File "main.py", line 3, in <module>', "matmul"]),
}


@pytest.mark.parametrize("name", TRACEBACKS)
def test_a_traceback_points_at_the_users_line(runtime: Page, name: str):
    source, expected = TRACEBACKS[name]
    error = run_python(runtime, source)["error"]
    for piece in expected:
        assert piece in error
    for internal in ("<runtime>", "_pyodide", "/lib/tensorbrook", "/home/pyodide"):
        assert internal not in error


EXITS = {"sys.exit(3)": (3, ""), "sys.exit()": (0, ""), "sys.exit('why')": (1, "why\n"),
         "raise SystemExit(True)": (1, "")}


@pytest.mark.parametrize("statement", EXITS)
def test_exit_codes_are_honoured(runtime: Page, statement: str):
    source = f"import sys\n{statement}"
    result = runtime.evaluate("source => tensorbrook.runtime.run(source)", source)
    assert (result["exit_code"], result["stderr"]) == EXITS[statement]
    assert result["error"] is None


def test_a_script_may_wait_for_a_promise(runtime: Page):
    source = "import asyncio\nasyncio.run(asyncio.sleep(0.01))\nprint('woke')"
    assert run_python(runtime, source)["stdout"] == "woke\n"


def test_a_script_finds_its_folder_empty_whatever_the_last_one_left(runtime: Page):
    source = "import os\nos.makedirs('a/b')\nos.symlink('a', 'c')\nprint(sorted(os.listdir('.')))"
    for _ in range(2):
        assert run_python(runtime, source)["stdout"] == "['a', 'c', 'main.py']\n"


def test_reading_from_the_terminal_ends_at_once(runtime: Page):
    assert "EOFError" in run_python(runtime, "input()")["error"]


def test_output_comes_while_the_script_runs(runtime: Page):
    heard = runtime.evaluate("""async (source) => {
      const heard = [];
      await tensorbrook.runtime.run(source, { onStdout: (text) => {
        heard.push(text);
        tensorbrook.runtime.stop();
      } });
      return heard;
    }""", ENDLESS)
    assert heard == ["begun\n"]


def test_an_endless_loop_stops_and_the_runtime_lives_on(runtime: Page):
    run_python(runtime, "import sys\nsys.kept = 'the same interpreter'")
    outcome, restarts = stopped(runtime, ENDLESS)
    assert restarts == []
    assert outcome["stdout"] == "begun\n"
    assert outcome["exit_code"] == 130
    assert 'File "main.py", line 2' in outcome["error"]
    assert run_python(runtime, "import sys\nprint(sys.kept)")["stdout"] == "the same interpreter\n"


def test_an_endless_printer_waits_for_the_page_and_stops(runtime: Page):
    outcome, restarts = stopped(runtime, "while True: print('x' * 100)", after_ms=1000)
    assert restarts == []
    assert outcome["exit_code"] == 130
    assert run_python(runtime, "print('alive')")["stdout"] == "alive\n"


def test_an_interrupt_is_heeded_whenever_it_comes(runtime: Page):
    """Before the script's first line, on the way to it, and in each moment of Python's polling."""
    run_python(runtime, "import sys\nsys.kept = 'the same interpreter'")
    for after_ms in [*range(8)] * 5:
        outcome, restarts = stopped(runtime, ENDLESS, after_ms)
        assert (outcome["exit_code"], restarts) == (130, []), after_ms
        assert "KeyboardInterrupt" in outcome["error"]
    assert run_python(runtime, "import sys\nprint(sys.kept)")["stdout"] == "the same interpreter\n"


def test_stop_between_scripts_interrupts_nothing(runtime: Page):
    runtime.evaluate("tensorbrook.runtime.stop()")
    assert run_python(runtime, "print('calm')")["stdout"] == "calm\n"


def test_a_script_that_does_not_heed_the_interrupt_ends_with_its_worker(
        browser: Browser, address: str):
    page = opened(browser, f"{address}run.html?threads=2")
    outcome, restarts = stopped(page, DEAF)
    assert restarts == ["the script ignored the interrupt"]
    assert outcome["exit_code"] == 130
    assert run_python(page, COMPUTE)["stdout"] == "[5.0, 11.0]\n"
    page.close()


HARDSHIPS = {
    "memory that is not there": (
        "import tensorbrook as tf\ntf.zeros((40000, 40000)) + 1.0", "use a smaller batch or model"),
    "recursion without end": ("def f(): return f()\nf()", "RecursionError"),
    "an object in its own way": (
        "class Bad(Exception):\n    def __str__(self): raise ValueError\nraise Bad", "Bad"),
}


@pytest.mark.parametrize("name", HARDSHIPS)
def test_the_runtime_lives_on_after(runtime: Page, name: str):
    source, expected = HARDSHIPS[name]
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
def test_a_program_that_traps_ends_in_an_error_and_hangs_nobody(
        runtime: Page, thread: int, error: str):
    assert error in run_python(runtime, TRAP % thread)["error"]
    assert run_python(runtime, COMPUTE)["stdout"] == "[5.0, 11.0]\n"


def test_python_that_breaks_down_starts_anew(browser: Browser, address: str):
    page = opened(browser, f"{address}run.html?threads=2")
    broken = run_python(page, "import _pyodide_core\n_pyodide_core.trigger_fatal_error()")
    assert broken["error"]
    assert run_python(page, COMPUTE)["stdout"] == "[5.0, 11.0]\n"
    page.close()


def test_a_page_without_isolation_runs_on_one_thread_and_says_so(
        browser: Browser, bare_address: str):
    page = opened(browser, f"{bare_address}run.html")
    assert page.evaluate("crossOriginIsolated") is False
    found = capabilities(page)
    assert (found["isolated"], found["engine"], found["threads"]) == (False, "relaxed", 1)
    notice = page.get_by_test_id("notice")
    assert notice.is_visible()
    assert "one thread" in notice.inner_text()
    assert run_python(page, COMPUTE)["stdout"] == "[5.0, 11.0]\n"

    outcome, restarts = stopped(page, ENDLESS)
    assert restarts == ["this page is not cross-origin isolated"]
    assert outcome["exit_code"] == 130
    assert run_python(page, "print('anew')")["stdout"] == "anew\n"
    page.close()


def test_a_script_may_be_stopped_before_python_is_ready(browser: Browser, address: str):
    page = browser.new_page()
    page.goto(f"{address}run.html?threads=2")
    outcome, restarts = stopped(page, ENDLESS, after_ms=0)
    assert (outcome["exit_code"], outcome["stdout"], restarts) == (130, "", [])
    assert run_python(page, "print('ready')")["stdout"] == "ready\n"
    page.close()


def test_a_page_that_comes_back_starts_anew(browser: Browser, address: str):
    page = opened(browser, f"{address}run.html?threads=2")
    running = page.evaluate_handle("source => ({ result: tensorbrook.runPython(source) })", ENDLESS)
    page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))")
    assert "KeyboardInterrupt" in page.evaluate("running => running.result", running)["error"]
    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    assert run_python(page, "print('back')")["stdout"] == "back\n"
    page.close()


def test_a_boot_that_fails_says_why(browser: Browser, address: str):
    page = browser.new_page()
    page.route("**/engine-threads.wasm", lambda route: route.fulfill(status=404))
    page.goto(f"{address}run.html")
    with pytest.raises(Error, match="engine-threads.wasm answered 404; build the page again"):
        capabilities(page)
    page.get_by_text("Could not start").wait_for()
    with pytest.raises(Error, match="answered 404"):
        run_python(page, "print(1)")
    page.close()


def renderers_seconds(browser: Browser) -> float:
    """The CPU time that all pages of the browser have used."""
    session = browser.new_browser_cdp_session()
    processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
    session.detach()
    return sum(p["cpuTime"] for p in processes if p["type"] == "renderer")


@pytest.mark.parametrize("leave", [lambda page: page.close(),
                                   lambda page: page.goto("about:blank")],
                         ids=["closed", "left"])
def test_a_page_that_is_left_computes_no_more(browser: Browser, address: str, leave):
    page = opened(browser, f"{address}run.html?threads=2")
    page.evaluate("source => void tensorbrook.runPython(source)", ENDLESS)
    time.sleep(0.3)
    before = busy(browser)
    assert before > 0.02
    leave(page)
    assert any(busy(browser) < before / 4 for _ in range(SECONDS_TO_LEAVE))
    if not page.is_closed():
        page.close()


def busy(browser: Browser) -> float:
    """CPU seconds that pages use in a second."""
    before = renderers_seconds(browser)
    time.sleep(1)
    return renderers_seconds(browser) - before
