"""The Studio's choice of a device, without a GPU and with one that the processor plays."""

from __future__ import annotations

import json

from playwright.sync_api import Browser, Page, expect
from studio_pages import SOON_MS, hook, number, studio, until

SMALL = {"layers": [{"type": "Flatten", "args": {}}, {"type": "Dense", "args": {"units": 10}}],
         "settings": {"optimizer": "adam", "learning_rate": 0.01, "batch_size": 256, "seed": 0}}


def choice(page: Page, name: str):
    return hook(page, "device-choice").get_by_role("radio", name=name)


def small(url: str) -> dict:
    """What the Studio kept of an earlier visit: a network that even a slow GPU trains quickly."""
    kept = [{"name": "tensorbrook.model", "value": json.dumps(SMALL)}]
    return {"storage_state": {"cookies": [], "origins": [
        {"origin": url.rstrip("/"), "localStorage": kept}]}}


def test_without_a_gpu_the_choice_says_why(page: Page):
    expect(choice(page, "GPU")).to_be_disabled()
    expect(choice(page, "Auto")).to_be_checked()
    expect(hook(page, "device-note")).to_contain_text("No GPU: ")
    expect(hook(page, "device")).to_have_text("CPU")


def test_the_gpu_trains_and_hands_over(gpu_browser: Browser, address: str):
    with studio(gpu_browser, address, **small(address)) as page:
        expect(hook(page, "status")).to_have_text("Ready.")
        expect(hook(page, "device-note")).to_contain_text("a software adapter")
        hook(page, "step").click()
        until(page, lambda: number(page, "train-loss") > 0)
        expect(hook(page, "device")).to_have_text("CPU")
        first = number(page, "train-loss")
        hook(page, "device-choice").get_by_text("GPU", exact=True).click()
        expect(hook(page, "device")).to_have_text("GPU")
        expect(hook(page, "backend")).to_have_text("webgpu")
        hook(page, "train").click()
        until(page, lambda: number(page, "epoch") >= 2, 2 * SOON_MS)
        learnt = number(page, "train-loss")
        assert 0 < learnt < first
        choice(page, "CPU").press("Space")
        expect(hook(page, "device")).to_have_text("CPU")
        until(page, lambda: number(page, "epoch") >= 10)
        assert number(page, "train-loss") < learnt
        hook(page, "device-choice").get_by_text("GPU", exact=True).click()
        expect(hook(page, "device")).to_have_text("GPU")
        page.reload()
        expect(choice(page, "GPU")).to_be_checked()
        expect(hook(page, "device")).to_have_text("GPU")
