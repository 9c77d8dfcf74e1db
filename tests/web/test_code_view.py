"""The Studio's Code view in a real browser: write, run, stop, and find the line that failed."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, expect
from studio_pages import LEARNT_MS, hook, number, studio, until, write

def test_a_program_runs_and_both_its_streams_are_shown(page: Page):
    write(page, "import sys\nprint('hello')\nprint('careful', file=sys.stderr)")
    hook(page, "run").click()
    expect(hook(page, "output").locator(".out")).to_contain_text("hello")
    expect(hook(page, "output").locator(".err")).to_contain_text("careful")
    colours = [hook(page, "output").locator(each).evaluate("e => getComputedStyle(e).color")
               for each in (".out", ".err")]
    assert colours[0] != colours[1]


def test_the_first_program_runs(page: Page):
    hook(page, "view-code").click()
    hook(page, "run").click()
    expect(hook(page, "output")).to_contain_text("y = 2.00 x + 1.00")


def test_a_traceback_leads_to_the_line(page: Page):
    write(page, "def f():\n    return 1 / 0\n\nprint('before')\nf()")
    hook(page, "run").click()
    expect(hook(page, "output")).to_contain_text("ZeroDivisionError")
    expect(hook(page, "output")).to_contain_text("before")
    hook(page, "output").get_by_role("button", name="line 2").click()
    expect(page.locator(".cm-activeLineGutter")).to_have_text("2")
    expect(hook(page, "code")).to_be_focused()


@pytest.mark.parametrize("how", ["button", "escape"])
def test_an_endless_loop_is_stopped_and_the_next_program_runs(page: Page, how: str):
    write(page, "print('begun', flush=True)\nwhile True: pass")
    page.keyboard.press("ControlOrMeta+Enter")
    expect(hook(page, "output")).to_contain_text("begun")
    hook(page, "stop").click() if how == "button" else page.keyboard.press("Escape")
    expect(page.get_by_text(re.compile("^Stopped"))).to_be_visible()
    write(page, "print(6 * 7)")
    page.keyboard.press("ControlOrMeta+Enter")
    expect(hook(page, "output")).to_have_text("42")


def test_a_flood_of_output_does_not_hold_the_page_up(page: Page):
    write(page, "for i in range(200_000): print('line', i)")
    hook(page, "run").click()
    expect(hook(page, "output")).to_contain_text("line 199999", timeout=LEARNT_MS)
    expect(hook(page, "output")).to_contain_text("Earlier output was dropped.")


def test_the_model_opens_as_a_program_that_runs_and_undo_brings_the_old_text_back(page: Page):
    write(page, "print('mine')")
    hook(page, "view-train").click()
    page.get_by_role("button", name="Open in Code").click()
    expect(hook(page, "code")).to_contain_text("layers.Conv2D(32, 3")
    hook(page, "run").click()
    expect(hook(page, "output")).to_contain_text("10/10", timeout=LEARNT_MS)
    hook(page, "code").click()
    page.keyboard.press("ControlOrMeta+z")
    expect(hook(page, "code")).to_have_text("print('mine')")


def test_the_text_outlives_a_reload(page: Page):
    write(page, "print('kept')")
    page.reload()
    expect(hook(page, "code")).to_have_text("print('kept')")


def test_training_goes_on_after_a_program_ran(page: Page):
    hook(page, "train").click()
    until(page, lambda: number(page, "epoch") >= 1)
    write(page, "import tensorbrook as tf\nprint(tf.reduce_sum(tf.constant([1.0, 2.0])).tolist())")
    hook(page, "run").click()
    expect(hook(page, "output")).to_have_text("3.0")
    hook(page, "view-train").click()
    epoch = number(page, "epoch")
    until(page, lambda: number(page, "epoch") > epoch)


def test_training_waits_for_an_endless_program_and_goes_on_after_it(page: Page):
    hook(page, "train").click()
    until(page, lambda: number(page, "epoch") >= 1)
    write(page, "print('begun', flush=True)\nwhile True: pass")
    hook(page, "run").click()
    expect(hook(page, "output")).to_contain_text("begun")
    hook(page, "view-train").click()
    expect(hook(page, "status")).to_have_text("Training waits for the program in Code.")
    epoch = number(page, "epoch")
    hook(page, "view-code").click()
    hook(page, "stop").click()
    hook(page, "view-train").click()
    until(page, lambda: number(page, "epoch") > epoch)


def test_scripts_outside_the_page_run_python_too(page: Page):
    done = page.evaluate("tensorbrook.runPython('print(1)\\n1 / 0')")
    assert done["stdout"] == "1\n"
    assert "ZeroDivisionError" in done["error"]


def test_stop_is_heard_while_python_starts(browser: Browser, address: str):
    with studio(browser, address) as page:
        write(page, "print('ran')")
        hook(page, "run").click()
        hook(page, "stop").click()
        expect(page.get_by_text(re.compile("^Stopped"))).to_be_visible()
        write(page, "print('next')")
        hook(page, "run").click()
        expect(hook(page, "output")).to_have_text("next")


@pytest.mark.parametrize("waits", [
    "import asyncio\n    asyncio.run(asyncio.sleep(100))", "import time\n    time.sleep(100)"])
def test_what_waits_is_stopped_at_once_and_training_goes_on(page: Page, waits: str):
    hook(page, "train").click()
    until(page, lambda: number(page, "epoch") >= 1)
    write(page, f"try:\n    print('begun', flush=True)\n    {waits}\nfinally: print('cleaned')")
    hook(page, "run").click()
    expect(hook(page, "output")).to_contain_text("begun")
    page.wait_for_timeout(200)
    hook(page, "stop").click()
    expect(page.get_by_text(re.compile("^Stopped"))).to_be_visible()
    expect(hook(page, "output")).to_have_text("begun\ncleaned")
    hook(page, "view-train").click()
    expect(hook(page, "status")).to_have_text("Training…")
    epoch = number(page, "epoch")
    assert epoch >= 1
    until(page, lambda: number(page, "epoch") > epoch)


def test_escape_in_the_other_view_stops_nothing(page: Page):
    write(page, "import time\nprint('begun', flush=True)\ntime.sleep(1.5)\nprint('whole')")
    hook(page, "run").click()
    expect(hook(page, "output")).to_contain_text("begun")
    hook(page, "view-train").click()
    page.keyboard.press("Escape")
    hook(page, "view-code").click()
    expect(hook(page, "output")).to_contain_text("whole")


def test_a_program_that_ends_with_a_code_says_so(page: Page):
    write(page, "raise SystemExit(3)")
    hook(page, "run").click()
    expect(hook(page, "output")).to_have_text("Exit code 3")
    expect(page.get_by_text(re.compile("^Failed"))).to_be_visible()


def test_back_leads_to_the_other_view_and_loses_nothing(page: Page):
    hook(page, "step").click()
    until(page, lambda: number(page, "train-loss") > 0)
    loss = hook(page, "train-loss").inner_text()
    hook(page, "view-code").click()
    page.go_back()
    expect(hook(page, "train-loss")).to_be_visible()
    assert hook(page, "train-loss").inner_text() == loss
    page.go_forward()
    expect(hook(page, "code")).to_be_visible()
