"""Actions in the pages of the site, through a driver."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from drivers import Driver
from PIL import Image

WAIT_S = 90         # a boot of Python without a snapshot on a busy machine
PICTURES = Path(__file__).parents[2] / "build" / "browsers"
MIN_COLORS = 100    # a blank page has one color, the Studio's has 900 and more


def open_page(driver: Driver, url: str) -> dict:
    """Open a page of the site and wait for Python; returns the runtime's capabilities."""
    driver.open(url)
    # WebKit may report a page as loaded before its modules have run.
    wait_until(driver, lambda: driver.evaluate("typeof tensorbrook") == "object")
    return capabilities(driver)


def capabilities(driver: Driver) -> dict:
    return driver.evaluate("tensorbrook.runtime.boot()")


def run_python(driver: Driver, source: str) -> dict:
    return driver.evaluate(f"tensorbrook.runPython({json.dumps(source)})")


def text(driver: Driver, name: str) -> str:
    element = f"document.querySelector('[data-testid={name}]')"
    return driver.evaluate(f"{element}?.innerText.trim() ?? ''")


def click(driver: Driver, name: str) -> None:
    driver.evaluate(f"document.querySelector('[data-testid={name}]').click()")


def figure(driver: Driver, name: str) -> float:
    """The value of a displayed figure, or -1 if there is none."""
    match = re.search(r"[\d.]+", text(driver, name).replace(",", ""))
    return float(match[0]) if match else -1


def wait_until(driver: Driver, condition: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end, f"not within {WAIT_S} s; status: {text(driver, 'status')}"
        time.sleep(0.1)


def save_picture(driver: Driver, name: str) -> None:
    """Save a picture of the page, which must not be blank."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    data = driver.screenshot()
    (PICTURES / f"{driver.name}-{name}.png").write_bytes(data)
    image = Image.open(BytesIO(data)).convert("RGB")
    colors = image.getcolors(image.width * image.height)
    assert image.width > 600 and image.height > 400, image.size
    assert colors is not None and len(colors) >= MIN_COLORS, f"{len(colors or ())} colors"
    assert max(count for count, _ in colors) < 0.98 * image.width * image.height
