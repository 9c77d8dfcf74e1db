"""The Studio's device choice, without a GPU and with a software adapter."""

from __future__ import annotations

import json

from playwright.sync_api import Browser, Page, expect
from studio_pages import TIMEOUT_MS, element, figure, open_studio, wait_until

SMALL_MODEL = {
    "layers": [{"type": "Flatten", "args": {}}, {"type": "Dense", "args": {"units": 10}}],
    "settings": {"optimizer": "adam", "learning_rate": 0.01, "batch_size": 256, "seed": 0}}


def device_option(page: Page, name: str):
    return element(page, "device-choice").get_by_role("radio", name=name)


def with_small_model(url: str) -> dict:
    """Browser options with a persisted model that even a slow GPU trains quickly."""
    items = [{"name": "tensorbrook.model", "value": json.dumps(SMALL_MODEL)}]
    return {"storage_state": {"cookies": [], "origins": [
        {"origin": url.rstrip("/"), "localStorage": items}]}}


def test_without_a_gpu_the_reason_is_shown(page: Page):
    expect(device_option(page, "GPU")).to_be_disabled()
    expect(device_option(page, "Auto")).to_be_checked()
    expect(element(page, "device-note")).to_contain_text("No GPU: ")
    expect(element(page, "device")).to_have_text("CPU")


def test_training_moves_between_devices(gpu_browser: Browser, site_url: str):
    with open_studio(gpu_browser, site_url, **with_small_model(site_url)) as page:
        expect(element(page, "status")).to_have_text("Ready.")
        expect(element(page, "device-note")).to_contain_text("a software adapter")
        element(page, "step").click()
        wait_until(page, lambda: figure(page, "train-loss") > 0)
        expect(element(page, "device")).to_have_text("CPU")
        first_loss = figure(page, "train-loss")
        element(page, "device-choice").get_by_text("GPU", exact=True).click()
        expect(element(page, "device")).to_have_text("GPU")
        expect(element(page, "backend")).to_have_text("webgpu")
        element(page, "train").click()
        wait_until(page, lambda: figure(page, "epoch") >= 2, 2 * TIMEOUT_MS)
        gpu_loss = figure(page, "train-loss")
        assert 0 < gpu_loss < first_loss
        device_option(page, "CPU").press("Space")
        expect(element(page, "device")).to_have_text("CPU")
        wait_until(page, lambda: figure(page, "epoch") >= 10)
        assert figure(page, "train-loss") < gpu_loss
        element(page, "device-choice").get_by_text("GPU", exact=True).click()
        expect(element(page, "device")).to_have_text("GPU")
        page.reload()
        expect(device_option(page, "GPU")).to_be_checked()
        expect(element(page, "device")).to_have_text("GPU")
