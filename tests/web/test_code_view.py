"""The Studio's Code view: write, run and stop programs, and follow tracebacks to their lines."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, expect
from studio_pages import (TRAINING_TIMEOUT_MS, element, figure, open_studio, wait_until,
                          write_program)


def test_a_program_runs_and_both_streams_are_shown(page: Page):
    write_program(page, "import sys\nprint('hello')\nprint('careful', file=sys.stderr)")
    element(page, "run").click()
    expect(element(page, "output").locator(".out")).to_contain_text("hello")
    expect(element(page, "output").locator(".err")).to_contain_text("careful")
    out, err = (element(page, "output").locator(stream).evaluate("e => getComputedStyle(e).color")
                for stream in (".out", ".err"))
    assert out != err


def test_the_first_program_runs(page: Page):
    element(page, "view-code").click()
    element(page, "run").click()
    expect(element(page, "output")).to_contain_text("y = 2.00 x + 1.00")


def test_a_traceback_links_to_the_line(page: Page):
    write_program(page, "def f():\n    return 1 / 0\n\nprint('before')\nf()")
    element(page, "run").click()
    expect(element(page, "output")).to_contain_text("ZeroDivisionError")
    expect(element(page, "output")).to_contain_text("before")
    element(page, "output").get_by_role("button", name="line 2").click()
    expect(page.locator(".cm-activeLineGutter")).to_have_text("2")
    expect(element(page, "code")).to_be_focused()


@pytest.mark.parametrize("how", ["button", "escape"])
def test_an_endless_loop_is_stopped_and_the_next_program_runs(page: Page, how: str):
    write_program(page, "print('started', flush=True)\nwhile True: pass")
    page.keyboard.press("ControlOrMeta+Enter")
    expect(element(page, "output")).to_contain_text("started")
    element(page, "stop").click() if how == "button" else page.keyboard.press("Escape")
    expect(page.get_by_text(re.compile("^Stopped"))).to_be_visible()
    write_program(page, "print(6 * 7)")
    page.keyboard.press("ControlOrMeta+Enter")
    expect(element(page, "output")).to_have_text("42")


def test_a_flood_of_output_does_not_block_the_page(page: Page):
    write_program(page, "for i in range(200_000): print('line', i)")
    element(page, "run").click()
    expect(element(page, "output")).to_contain_text("line 199999", timeout=TRAINING_TIMEOUT_MS)
    expect(element(page, "output")).to_contain_text("Earlier output was dropped.")


def test_the_model_opens_as_a_program_that_runs_and_undo_restores_the_old_text(page: Page):
    write_program(page, "print('mine')")
    element(page, "view-train").click()
    page.get_by_role("button", name="Open in Code").click()
    expect(element(page, "code")).to_contain_text("layers.Conv2D(32, 3")
    element(page, "run").click()
    expect(element(page, "output")).to_contain_text("10/10", timeout=TRAINING_TIMEOUT_MS)
    element(page, "code").click()
    page.keyboard.press("ControlOrMeta+z")
    expect(element(page, "code")).to_have_text("print('mine')")


def test_the_text_survives_a_reload(page: Page):
    write_program(page, "print('kept')")
    page.reload()
    expect(element(page, "code")).to_have_text("print('kept')")


def test_training_continues_after_a_program(page: Page):
    element(page, "train").click()
    wait_until(page, lambda: figure(page, "epoch") >= 1)
    write_program(page, "import tensorbrook as tf\n"
                        "print(tf.reduce_sum(tf.constant([1.0, 2.0])).tolist())")
    element(page, "run").click()
    expect(element(page, "output")).to_have_text("3.0")
    element(page, "view-train").click()
    epoch = figure(page, "epoch")
    wait_until(page, lambda: figure(page, "epoch") > epoch)


def test_training_waits_for_an_endless_program_and_continues_after_it(page: Page):
    element(page, "train").click()
    wait_until(page, lambda: figure(page, "epoch") >= 1)
    write_program(page, "print('started', flush=True)\nwhile True: pass")
    element(page, "run").click()
    expect(element(page, "output")).to_contain_text("started")
    element(page, "view-train").click()
    expect(element(page, "status")).to_have_text("Training waits for the program in Code.")
    epoch = figure(page, "epoch")
    element(page, "view-code").click()
    element(page, "stop").click()
    element(page, "view-train").click()
    wait_until(page, lambda: figure(page, "epoch") > epoch)


def test_the_automation_api_runs_python(page: Page):
    result = page.evaluate("tensorbrook.runPython('print(1)\\n1 / 0')")
    assert result["stdout"] == "1\n"
    assert "ZeroDivisionError" in result["error"]


def test_stop_works_while_python_starts(browser: Browser, site_url: str):
    with open_studio(browser, site_url) as page:
        write_program(page, "print('ran')")
        element(page, "run").click()
        element(page, "stop").click()
        expect(page.get_by_text(re.compile("^Stopped"))).to_be_visible()
        write_program(page, "print('next')")
        element(page, "run").click()
        expect(element(page, "output")).to_have_text("next")


@pytest.mark.parametrize("wait", [
    "import asyncio\n    asyncio.run(asyncio.sleep(100))", "import time\n    time.sleep(100)"])
def test_a_waiting_program_stops_at_once_and_training_continues(page: Page, wait: str):
    element(page, "train").click()
    wait_until(page, lambda: figure(page, "epoch") >= 1)
    write_program(
        page, f"try:\n    print('started', flush=True)\n    {wait}\nfinally: print('cleaned')")
    element(page, "run").click()
    expect(element(page, "output")).to_contain_text("started")
    page.wait_for_timeout(200)
    element(page, "stop").click()
    expect(page.get_by_text(re.compile("^Stopped"))).to_be_visible()
    expect(element(page, "output")).to_have_text("started\ncleaned")
    element(page, "view-train").click()
    expect(element(page, "status")).to_have_text("Training…")
    epoch = figure(page, "epoch")
    assert epoch >= 1
    wait_until(page, lambda: figure(page, "epoch") > epoch)


def test_escape_in_the_other_view_stops_nothing(page: Page):
    write_program(page, "import time\nprint('started', flush=True)\ntime.sleep(1.5)\nprint('done')")
    element(page, "run").click()
    expect(element(page, "output")).to_contain_text("started")
    element(page, "view-train").click()
    page.keyboard.press("Escape")
    element(page, "view-code").click()
    expect(element(page, "output")).to_contain_text("done")


def test_the_exit_code_of_a_program_is_shown(page: Page):
    write_program(page, "raise SystemExit(3)")
    element(page, "run").click()
    expect(element(page, "output")).to_have_text("Exit code 3")
    expect(page.get_by_text(re.compile("^Failed"))).to_be_visible()


def test_back_returns_to_the_other_view_and_keeps_its_state(page: Page):
    element(page, "step").click()
    wait_until(page, lambda: figure(page, "train-loss") > 0)
    loss = element(page, "train-loss").inner_text()
    element(page, "view-code").click()
    page.go_back()
    expect(element(page, "train-loss")).to_be_visible()
    assert element(page, "train-loss").inner_text() == loss
    page.go_forward()
    expect(element(page, "code")).to_be_visible()
