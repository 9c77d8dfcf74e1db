"""The Studio's responsive layout and input methods: widths, themes, touch and keyboard."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, expect
from studio_pages import (STARTER_LAYERS, TRAINING_TIMEOUT_MS, element, figure, layer_names,
                          layer_row, open_studio, predicted_digit, wait_until)

PHONE = {"width": 390, "height": 844}

@pytest.mark.parametrize("view", ["train", "code"])
@pytest.mark.parametrize("width", [320, 390, 768, 1024, 1440, 2560])
def test_no_width_scrolls_sideways(browser: Browser, site_url: str, width: int, view: str):
    with open_studio(browser, site_url, viewport={"width": width, "height": 800}) as page:
        element(page, f"view-{view}").click()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        expect(element(page, "train" if view == "train" else "run")).to_be_in_viewport()


def test_drawing_by_touch(browser: Browser, site_url: str):
    with open_studio(browser, site_url, viewport=PHONE, has_touch=True, is_mobile=True) as page:
        expect(element(page, "status")).to_have_text("Ready.")
        expect(element(page, "prediction")).to_contain_text("%")
        before = element(page, "prediction").inner_text()
        element(page, "draw").tap()
        expect(element(page, "prediction")).not_to_have_text(before)


def brightness(page: Page) -> float:
    """The brightness of the page's background, from 0 (black) to 1 (white)."""
    return page.evaluate("""() => {
      const context = new OffscreenCanvas(1, 1).getContext("2d");
      context.fillStyle = getComputedStyle(document.body).backgroundColor;
      context.fillRect(0, 0, 1, 1);
      return context.getImageData(0, 0, 1, 1).data[1] / 255;
    }""")


@pytest.mark.parametrize("scheme, dark", [("light", False), ("dark", True)])
def test_the_theme_follows_the_system_until_the_user_chooses(
        browser: Browser, site_url: str, scheme: str, dark: bool):
    with open_studio(browser, site_url, color_scheme=scheme) as page:
        assert (brightness(page) < 0.5) is dark
        page.get_by_role("button", name=re.compile("colors")).click()
        assert (brightness(page) < 0.5) is not dark
        page.reload()
        assert (brightness(page) < 0.5) is not dark


FOCUS_IS_VISIBLE = """(() => {
  const elements = [document.activeElement];
  for (let i = 0; i < 2; i++) elements.push(elements[i].parentElement);
  return elements.some((e) => getComputedStyle(e).outlineStyle === "solid");
})()"""


def test_the_keyboard_focus_is_visible(page: Page):
    """Every control that Tab reaches has an outline, or its row has one."""
    for _ in range(31):
        page.keyboard.press("Tab")
        assert page.evaluate(FOCUS_IS_VISIBLE), page.evaluate("document.activeElement.outerHTML")


def test_training_by_keyboard(page: Page):
    focused = "document.activeElement.dataset.testid ?? document.activeElement.ariaLabel"
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate(focused) == "train":
            break
    assert page.evaluate(focused) == "train"
    assert page.evaluate(FOCUS_IS_VISIBLE)
    page.keyboard.press("Enter")
    wait_until(page, lambda: figure(page, "epoch") >= 1)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(element(page, "status")).to_have_text("Paused.")


def test_layers_are_moved_and_removed_by_keyboard_and_keep_the_focus(page: Page):
    layer_row(page, 4).locator(".title").focus()
    page.keyboard.press("Alt+ArrowDown")
    assert layer_names(page)[4:6] == ["Dense", "Dropout"]
    expect(layer_row(page, 5).locator(".title")).to_be_focused()
    page.keyboard.press("Delete")
    assert layer_names(page) == [name for name in STARTER_LAYERS if name != "Dropout"]
    expect(layer_row(page, 5).locator(".title")).to_be_focused()


def test_a_digit_is_drawn_by_keyboard(page: Page):
    expect(element(page, "prediction")).to_contain_text("%")
    element(page, "train").click()
    wait_until(page, lambda: figure(page, "test-accuracy") >= 96, TRAINING_TIMEOUT_MS)
    element(page, "draw").focus()
    for key in [*["ArrowUp"] * 7, "Space", *["ArrowDown"] * 14, "Space"]:
        page.keyboard.press(key)
    wait_until(page, lambda: predicted_digit(page) == "1")
    page.keyboard.press("Delete")
    expect(element(page, "prediction").locator(".best")).to_have_count(0)


def test_the_drawing_is_cleared_by_keyboard(page: Page):
    expect(element(page, "prediction").locator(".best")).to_have_count(1)
    page.get_by_role("button", name="Clear").focus()
    page.keyboard.press("Enter")
    expect(element(page, "prediction").locator(".best")).to_have_count(0)
