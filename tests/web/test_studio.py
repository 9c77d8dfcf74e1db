"""The Studio's Train view: the first screen, training, editing layers, and drawing."""

from __future__ import annotations

import json
import re

from playwright.sync_api import Browser, Page, expect
from studio_pages import (STARTER_LAYERS, TRAINING_TIMEOUT_MS, draw_stroke, edit_argument, element,
                          figure, layer_names, layer_row, open_studio, predicted_digit, wait_until,
                          write_program)

OBSERVE = """
window.observed = { tasks: [], shifts: [] };
new PerformanceObserver((list) => observed.tasks.push(
  ...list.getEntries().map((e) => `${e.duration} ms at ${Math.round(e.startTime)}`)))
  .observe({ type: "longtask" });
new PerformanceObserver((list) => observed.shifts.push(
  ...list.getEntries().filter((e) => !e.hadRecentInput).map((e) => [e.value, e.sources.map(
    (s) => s.node && (s.node.outerHTML || s.node.textContent).slice(0, 90))])))
  .observe({ type: "layout-shift" });
"""


# ── the first screen ──


def test_the_first_screen_is_complete_before_python_is_ready(browser: Browser, site_url: str):
    with open_studio(browser, site_url) as page:
        expect(element(page, "train")).to_be_enabled()
        assert layer_names(page) == STARTER_LAYERS
        assert "6 × 6 × 32" in layer_row(page, 0).inner_text()
        expect(page.get_by_role("region", name="Program")).to_contain_text("layers.Conv2D(32, 3")
        expect(element(page, "status")).to_contain_text(re.compile("Starting|Loading|Ready"))


def test_train_pressed_early_starts_when_python_is_ready(browser: Browser, site_url: str):
    with open_studio(browser, site_url) as page:
        element(page, "train").click()
        wait_until(page, lambda: figure(page, "epoch") >= 1)


def test_every_test_id_exists(page: Page):
    test_ids = ("layers add-layer train pause step reset epoch train-loss test-accuracy threads "
                "samples-per-second backend device device-choice draw prediction view-train "
                "view-code status")
    for test_id in test_ids.split():
        expect(element(page, test_id)).to_be_visible()
    element(page, "view-code").click()
    for test_id in ("code", "run", "stop", "output"):
        expect(element(page, test_id)).to_be_visible()


def test_backend_and_threads_are_shown(page: Page):
    expect(element(page, "backend")).to_have_text("wasm")
    assert figure(page, "threads") >= 1
    assert page.get_by_test_id("notice").count() == 0


def test_a_notice_is_shown_without_threads(browser: Browser, unisolated_url: str):
    with open_studio(browser, unisolated_url) as page:
        expect(element(page, "notice")).to_contain_text("one thread")
        expect(element(page, "threads")).to_have_text("1")


def test_the_error_of_a_failed_boot_is_shown(browser: Browser, site_url: str):
    with open_studio(browser, site_url) as page:
        page.route("**/pyodide/**", lambda route: route.abort())
        page.reload()
        expect(element(page, "status")).to_contain_text("Python could not start: ")
        expect(element(page, "train")).to_have_attribute("aria-disabled", "true")


def test_without_isolation_stop_restarts_python_and_keeps_layers_and_code(
        browser: Browser, unisolated_url: str):
    with open_studio(browser, unisolated_url) as page:
        element(page, "train").click()
        wait_until(page, lambda: figure(page, "epoch") >= 1)
        write_program(page, "print('started', flush=True)\nwhile True: pass")
        element(page, "run").click()
        expect(element(page, "output")).to_contain_text("started")
        element(page, "stop").click()
        expect(page.get_by_text(re.compile("^Stopped"))).to_be_visible()
        expect(element(page, "code")).to_contain_text("while True")
        element(page, "view-train").click()
        assert layer_names(page) == STARTER_LAYERS
        expect(element(page, "status")).to_contain_text("Python was restarted")
        element(page, "train").click()
        wait_until(page, lambda: figure(page, "epoch") >= 1)


# ── training ──


def test_training_reaches_98_percent(page: Page):
    element(page, "train").click()
    wait_until(page, lambda: figure(page, "test-accuracy") >= 98, TRAINING_TIMEOUT_MS)
    assert figure(page, "samples-per-second") > 0


def test_training_does_not_block_the_page(browser: Browser, site_url: str):
    """During training, no task of the main thread takes over 50 ms, and no layout shift occurs.

    The browser measures the wall time of a task, which other processes lengthen on a machine with
    few cores. If there was a long task, the thread's CPU time in each task decides.
    """
    with open_studio(browser, site_url) as page:
        expect(element(page, "status")).to_have_text("Ready.")
        page.wait_for_timeout(500)
        browser.start_tracing(page=page, categories=["toplevel"])
        observed = observe_training(page)
        longest_ms = longest_task_ms(browser.stop_tracing())
    assert observed["shifts"] == []
    assert observed["tasks"] == [] or longest_ms < 50, (observed["tasks"], longest_ms)


def longest_task_ms(trace: bytes) -> float:
    """The longest CPU time that the page's main thread spent in one task."""
    events = json.loads(trace)["traceEvents"]
    main = {(event["pid"], event["tid"]) for event in events if event["name"] == "thread_name"
            and event["args"]["name"] == "CrRendererMain"}
    tasks = [event["tdur"] for event in events if (event["pid"], event["tid"]) in main
             and event["name"].endswith("RunTask") and "tdur" in event]
    assert tasks, "the trace holds no task of the page's main thread"
    return max(tasks) / 1000


def observe_training(page: Page) -> dict:
    page.evaluate(OBSERVE)
    element(page, "train").click()
    wait_until(page, lambda: figure(page, "epoch") >= 10, TRAINING_TIMEOUT_MS)
    page.wait_for_timeout(2000)
    return page.evaluate("observed")


def test_pause_pauses_and_train_resumes(page: Page):
    element(page, "train").click()
    wait_until(page, lambda: figure(page, "epoch") >= 1)
    element(page, "pause").click()
    expect(element(page, "status")).to_have_text("Paused.")
    page.wait_for_timeout(200)
    epoch, loss = figure(page, "epoch"), element(page, "train-loss").inner_text()
    page.wait_for_timeout(600)
    assert (figure(page, "epoch"), element(page, "train-loss").inner_text()) == (epoch, loss)
    element(page, "train").click()
    wait_until(page, lambda: figure(page, "epoch") > epoch)


def test_train_right_after_pause_or_reset_trains(page: Page):
    element(page, "train").click()
    wait_until(page, lambda: figure(page, "epoch") >= 1)
    for before in ("pause", "reset"):
        page.evaluate("""(before) => [before, "train"].forEach((name) =>
          document.querySelector(`[data-testid=${name}]`).click())""", before)
        page.wait_for_timeout(500)
        expect(element(page, "status")).to_have_text("Training…")
        epoch = figure(page, "epoch")
        wait_until(page, lambda previous=epoch: figure(page, "epoch") > previous)


def test_step_then_reset(page: Page):
    element(page, "step").click()
    wait_until(page, lambda: figure(page, "train-loss") > 0)
    first = element(page, "train-loss").inner_text()
    for _ in range(3):
        element(page, "step").click()
    expect(element(page, "train-loss")).not_to_have_text(first)
    element(page, "reset").click()
    expect(element(page, "train-loss")).to_have_text("–")
    assert figure(page, "epoch") == 0
    element(page, "step").click()
    expect(element(page, "train-loss")).to_have_text(first)


def test_a_nan_loss_stops_training_with_a_hint(page: Page):
    page.get_by_label("Optimizer").select_option("sgd")
    rate = page.get_by_label("Learning rate")
    rate.fill("1e30")
    rate.press("Enter")
    element(page, "train").click()
    expect(element(page, "status")).to_contain_text("lower the learning rate")
    assert layer_names(page) == STARTER_LAYERS
    rate.fill("0.05")
    rate.press("Enter")
    element(page, "reset").click()
    element(page, "train").click()
    wait_until(page, lambda: figure(page, "epoch") >= 1)


def test_the_error_of_a_network_too_large_for_memory(page: Page):
    edit_argument(page, 5, "Units", "90000000")
    element(page, "train").click()
    expect(element(page, "status")).to_contain_text("do not fit into memory")
    edit_argument(page, 5, "Units", "32")
    element(page, "train").click()
    wait_until(page, lambda: figure(page, "epoch") >= 1)


# ── layers ──


def test_layers_are_added_removed_moved_and_edited_and_the_source_is_updated(page: Page):
    source = page.get_by_role("region", name="Program")
    page.get_by_label("Type of layer to add").select_option("Dropout")
    element(page, "add-layer").click()
    assert layer_names(page) == [*STARTER_LAYERS[:-1], "Dropout", "Dense"]
    edit_argument(page, 6, "Rate", "0.4")
    expect(source).to_contain_text("layers.Dropout(0.4)")
    layer_row(page, 6).get_by_role("button", name="Move Dropout up").click()
    assert layer_names(page)[5:] == ["Dropout", "Dense", "Dense"]
    layer_row(page, 5).get_by_role("button", name="Remove Dropout").click()
    assert layer_names(page) == STARTER_LAYERS
    expect(source).not_to_contain_text("layers.Dropout(0.4)")


def test_a_layer_is_moved_by_dragging(page: Page):
    start = layer_row(page, 4).locator(".grip").bounding_box()
    end = layer_row(page, 5).bounding_box()
    assert start and end
    page.mouse.move(start["x"] + 5, start["y"] + 20)
    page.mouse.down()
    page.mouse.move(start["x"] + 5, end["y"] + end["height"], steps=8)
    page.mouse.up()
    assert layer_names(page)[4:6] == ["Dense", "Dropout"]
    expect(page.get_by_role("region", name="Program")).to_contain_text(
        re.compile(r"Dense\(64.*\n.*Dropout"))


def test_the_error_of_a_shape_is_shown_at_its_layer(page: Page):
    edit_argument(page, 1, "Kernel size", "9")
    alert = layer_row(page, 1).get_by_role("alert")
    expect(alert).to_be_visible()
    expect(alert).to_contain_text("9")
    expect(element(page, "train")).to_have_attribute("aria-disabled", "true")
    edit_argument(page, 1, "Kernel size", "3")
    expect(alert).to_have_count(0)
    expect(element(page, "train")).to_have_attribute("aria-disabled", "false")


def test_the_error_of_an_invalid_number(page: Page):
    edit_argument(page, 0, "Filters", "")
    hint = "takes a whole number from 1 to 100,000,000"
    expect(layer_row(page, 0)).to_contain_text(f"Filters {hint}")
    edit_argument(page, 0, "Filters", "0")
    expect(layer_row(page, 0).get_by_role("alert")).to_contain_text(
        "filters is 0; it must be a whole number from 1 to 100,000,000")


def test_the_status_without_layers_is_a_hint(page: Page):
    for _ in STARTER_LAYERS:
        layer_row(page, 0).get_by_role("button", name=re.compile("Remove")).click()
    expect(element(page, "status")).to_have_text("There are no layers; add one.")
    expect(element(page, "train")).to_have_attribute("aria-disabled", "true")
    for kind in ("Flatten", "Dense"):
        page.get_by_label("Type of layer to add").select_option(kind)
        element(page, "add-layer").click()
    assert layer_names(page) == ["Dense", "Flatten"]
    layer_row(page, 0).get_by_role("button", name="Move Dense down").click()
    edit_argument(page, 1, "Units", "10")
    element(page, "train").click()
    wait_until(page, lambda: figure(page, "epoch") >= 1)


def test_the_error_of_a_batch_size_is_shown_at_its_field(page: Page):
    field = page.get_by_label("Batch size")
    field.fill("1e21")
    field.press("Enter")
    expect(page.get_by_text("Enter a whole number from 1 to 100,000")).to_be_visible()
    element(page, "train").click()
    wait_until(page, lambda: figure(page, "epoch") >= 1)


def test_the_layers_survive_a_reload_and_corrupt_storage_is_ignored(page: Page):
    layer_row(page, 4).get_by_role("button", name="Remove Dropout").click()
    without = [name for name in STARTER_LAYERS if name != "Dropout"]
    assert layer_names(page) == without
    page.reload()
    assert layer_names(page) == without
    page.evaluate("localStorage.setItem('tensorbrook.model', '{broken')")
    page.reload()
    assert layer_names(page) == STARTER_LAYERS


# ── drawing ──

ONE = ((0.5, 0.15), (0.5, 0.85))
SEVEN = ((0.3, 0.18), (0.7, 0.18), (0.45, 0.85))


def test_a_drawing_is_classified_during_training(page: Page):
    element(page, "train").click()
    wait_until(page, lambda: figure(page, "test-accuracy") >= 96, TRAINING_TIMEOUT_MS)
    draw_stroke(page, *SEVEN)
    wait_until(page, lambda: predicted_digit(page) == "7")
    page.get_by_role("button", name="Clear").click()
    expect(element(page, "prediction").locator(".best")).to_have_count(0)
    draw_stroke(page, *ONE)
    wait_until(page, lambda: predicted_digit(page) == "1")
    expect(element(page, "status")).to_have_text("Training…")


def test_a_long_scribble_does_not_block_the_page(browser: Browser, page: Page):
    """If there was a long task by wall time, the thread's CPU time in each task decides."""
    browser.start_tracing(page=page, categories=["toplevel"])
    page.evaluate(OBSERVE)
    box = element(page, "draw").bounding_box()
    assert box
    page.mouse.move(box["x"] + 10, box["y"] + 10)
    page.mouse.down()
    for i in range(120):
        page.mouse.move(box["x"] + (i * 97 % 230) + 5, box["y"] + (i * 61 % 230) + 5, steps=5)
    page.mouse.up()
    tasks = [task for task in page.evaluate("observed")["tasks"] if float(task.split()[0]) > 100]
    longest_ms = longest_task_ms(browser.stop_tracing())
    assert tasks == [] or longest_ms < 100, (tasks, longest_ms)


def test_the_prediction_changes_during_training(page: Page):
    expect(element(page, "prediction")).to_contain_text("%")
    before = element(page, "prediction").inner_text()
    element(page, "train").click()
    expect(element(page, "prediction")).not_to_have_text(before)
    wait_until(page, lambda: predicted_digit(page) == "3", TRAINING_TIMEOUT_MS)
