"""The Studio on every screen and under every hand: widths, themes, touch and the keyboard."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, expect
from studio_pages import (LEARNT_MS, STARTER, hook, layer, likeliest, names, number,
                          studio, until)

PHONE = {"width": 390, "height": 844}

@pytest.mark.parametrize("view", ["train", "code"])
@pytest.mark.parametrize("width", [320, 390, 768, 1024, 1440, 2560])
def test_no_width_scrolls_sideways(browser: Browser, address: str, width: int, view: str):
    with studio(browser, address, viewport={"width": width, "height": 800}) as page:
        hook(page, f"view-{view}").click()
        wide = "document.documentElement.scrollWidth <= innerWidth"
        assert page.evaluate(wide)
        expect(hook(page, "train" if view == "train" else "run")).to_be_in_viewport()


def test_a_phone_can_draw_with_a_finger(browser: Browser, address: str):
    with studio(browser, address, viewport=PHONE, has_touch=True, is_mobile=True) as page:
        expect(hook(page, "status")).to_have_text("Ready.")
        expect(hook(page, "prediction")).to_contain_text("%")
        before = hook(page, "prediction").inner_text()
        hook(page, "draw").tap()
        expect(hook(page, "prediction")).not_to_have_text(before)


def brightness(page: Page) -> float:
    """0 is black, 1 is white: what a pixel of the page's ground comes to."""
    return page.evaluate("""() => {
      const pen = new OffscreenCanvas(1, 1).getContext("2d");
      pen.fillStyle = getComputedStyle(document.body).backgroundColor;
      pen.fillRect(0, 0, 1, 1);
      return pen.getImageData(0, 0, 1, 1).data[1] / 255;
    }""")


@pytest.mark.parametrize("scheme, dark", [("light", False), ("dark", True)])
def test_it_follows_the_system_until_somebody_chooses(
        browser: Browser, address: str, scheme: str, dark: bool):
    with studio(browser, address, color_scheme=scheme) as page:
        assert (brightness(page) < 0.5) is dark
        page.get_by_role("button", name=re.compile("colors")).click()
        assert (brightness(page) < 0.5) is not dark
        page.reload()
        assert (brightness(page) < 0.5) is not dark


RINGED = """(() => {
  const near = [document.activeElement];
  for (let i = 0; i < 2; i++) near.push(near[i].parentElement);
  return near.some((e) => getComputedStyle(e).outlineStyle === "solid");
})()"""


def test_what_has_the_keyboard_is_seen(page: Page):
    """Every control that Tab reaches has a ring around it, or around the row it is in."""
    for _ in range(31):
        page.keyboard.press("Tab")
        assert page.evaluate(RINGED), page.evaluate("document.activeElement.outerHTML")


def test_the_keyboard_alone_is_enough(page: Page):
    focused = "document.activeElement.dataset.testid ?? document.activeElement.ariaLabel"
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate(focused) == "train":
            break
    assert page.evaluate(focused) == "train"
    assert page.evaluate(RINGED)
    page.keyboard.press("Enter")
    until(page, lambda: number(page, "epoch") >= 1)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(hook(page, "status")).to_have_text("Paused.")


def test_the_keyboard_moves_and_removes_layers_and_keeps_its_place(page: Page):
    layer(page, 4).locator(".title").focus()
    page.keyboard.press("Alt+ArrowDown")
    assert names(page)[4:6] == ["Dense", "Dropout"]
    expect(layer(page, 5).locator(".title")).to_be_focused()
    page.keyboard.press("Delete")
    assert names(page) == [name for name in STARTER if name != "Dropout"]
    expect(layer(page, 5).locator(".title")).to_be_focused()


def test_a_digit_is_drawn_by_keyboard(page: Page):
    expect(hook(page, "prediction")).to_contain_text("%")
    hook(page, "train").click()
    until(page, lambda: number(page, "test-accuracy") >= 96, LEARNT_MS)
    hook(page, "draw").focus()
    for key in [*["ArrowUp"] * 7, "Space", *["ArrowDown"] * 14, "Space"]:
        page.keyboard.press(key)
    until(page, lambda: likeliest(page) == "1")
    page.keyboard.press("Delete")
    expect(hook(page, "prediction").locator(".best")).to_have_count(0)


def test_the_drawing_is_cleared_by_keyboard(page: Page):
    expect(hook(page, "prediction").locator(".best")).to_have_count(1)
    page.get_by_role("button", name="Clear").focus()
    page.keyboard.press("Enter")
    expect(hook(page, "prediction").locator(".best")).to_have_count(0)
