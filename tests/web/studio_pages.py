"""What the tests of the Studio do in it: open it, read its figures, edit, draw and write."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Locator, Page

LEARNT_MS = 60_000  # 20 s of training are the goal; a machine that does other work needs more
SOON_MS = 30_000  # a start of Python, or the first steps, on such a machine
STARTER = ["Conv2D", "Conv2D", "MaxPooling2D", "Flatten", "Dropout", "Dense", "Dense"]


@contextmanager
def studio(browser: Browser, url: str, **options) -> Iterator[Page]:
    """The Studio as somebody finds it who opens it for the first time; it must raise nothing."""
    context = browser.new_context(**options)
    page = context.new_page()
    raised: list[str] = []
    page.on("pageerror", lambda error: raised.append(str(error)))
    page.goto(url)
    try:
        yield page
    finally:
        context.close()
    assert raised == []


def hook(page: Page, name: str) -> Locator:
    return page.get_by_test_id(name)


def number(page: Page, name: str) -> float:
    """The figure that is shown; -1 where there is none."""
    found = re.search(r"[\d.]+", hook(page, name).inner_text().replace(",", ""))
    return float(found[0]) if found else -1


def until(page: Page, holds: Callable[[], bool], ms: int = SOON_MS) -> None:
    for _ in range(ms // 50):
        if holds():
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"not within {ms} ms; status: {hook(page, 'status').inner_text()}")


def layer(page: Page, index: int) -> Locator:
    return hook(page, "layers").locator("li").nth(index)


def names(page: Page) -> list[str]:
    return page.locator("[data-testid=layers] .name").all_inner_texts()


def edit(page: Page, index: int, label: str, value: str) -> None:
    """Set one argument of a layer, opening it if it is closed."""
    title = layer(page, index).locator(".title")
    if title.get_attribute("aria-expanded") == "false":
        title.click()
    field = layer(page, index).get_by_label(label)
    field.fill(value)
    field.press("Enter")


def draw(page: Page, *points: tuple[float, float]) -> None:
    """One stroke through points given as shares of the surface's side."""
    box = hook(page, "draw").bounding_box()
    assert box
    for i, (x, y) in enumerate(points):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=8)
        if i == 0:
            page.mouse.down()
    page.mouse.up()


def likeliest(page: Page) -> str:
    return hook(page, "prediction").locator(".best .digit").inner_text()


def write(page: Page, source: str) -> None:
    """Open the Code view and put a program into the editor."""
    hook(page, "view-code").click()
    hook(page, "code").fill(source)
