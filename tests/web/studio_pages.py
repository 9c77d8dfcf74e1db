"""Actions of the Studio's tests: open the page, read figures, edit layers, draw, write programs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Locator, Page

TRAINING_TIMEOUT_MS = 60_000  # the goal is 20 s of training; a busy machine needs more
TIMEOUT_MS = 30_000  # for a boot of Python, or the first steps, on a busy machine
STARTER_LAYERS = ["Conv2D", "Conv2D", "MaxPooling2D", "Flatten", "Dropout", "Dense", "Dense"]


@contextmanager
def open_studio(browser: Browser, url: str, **options) -> Iterator[Page]:
    """Open the Studio as on a first visit; the page must raise no error."""
    context = browser.new_context(**options)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(url)
    try:
        yield page
    finally:
        context.close()
    assert errors == []


def element(page: Page, name: str) -> Locator:
    return page.get_by_test_id(name)


def figure(page: Page, name: str) -> float:
    """The value of a displayed figure, or -1 if there is none."""
    match = re.search(r"[\d.]+", element(page, name).inner_text().replace(",", ""))
    return float(match[0]) if match else -1


def wait_until(page: Page, condition: Callable[[], bool], timeout_ms: int = TIMEOUT_MS) -> None:
    for _ in range(timeout_ms // 50):
        if condition():
            return
        page.wait_for_timeout(50)
    status = element(page, "status").inner_text()
    raise AssertionError(f"not within {timeout_ms} ms; status: {status}")


def layer_row(page: Page, index: int) -> Locator:
    return element(page, "layers").locator("li").nth(index)


def layer_names(page: Page) -> list[str]:
    return page.locator("[data-testid=layers] .name").all_inner_texts()


def edit_argument(page: Page, index: int, label: str, value: str) -> None:
    """Set one argument of a layer, after expanding the layer if necessary."""
    title = layer_row(page, index).locator(".title")
    if title.get_attribute("aria-expanded") == "false":
        title.click()
    field = layer_row(page, index).get_by_label(label)
    field.fill(value)
    field.press("Enter")


def draw_stroke(page: Page, *points: tuple[float, float]) -> None:
    """Draw a stroke through points, given as fractions of the pad's side."""
    box = element(page, "draw").bounding_box()
    assert box
    for i, (x, y) in enumerate(points):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=8)
        if i == 0:
            page.mouse.down()
    page.mouse.up()


def predicted_digit(page: Page) -> str:
    return element(page, "prediction").locator(".best .digit").inner_text()


def write_program(page: Page, source: str) -> None:
    """Open the Code view and write a program into the editor."""
    element(page, "view-code").click()
    element(page, "code").fill(source)
