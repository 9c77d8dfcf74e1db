"""Headless Chromium: its path and flags, for `tensorbrook run --page` and the tests."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

# No first-run dialogs, and no network requests of the browser itself.
FLAGS = ("--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync")

# WebGPU on Linux without a screen: on the GPU, or on the CPU with the software adapter SwiftShader.
GPU = ("--enable-unsafe-webgpu", "--enable-features=Vulkan")
REAL_GPU = (*GPU, "--use-angle=vulkan", "--disable-vulkan-surface")
SOFTWARE_GPU = (*GPU, "--use-vulkan=swiftshader", "--use-webgpu-adapter=swiftshader")

# Without this flag Chromium rounds the GPU timestamps of a page to 0.1 ms ("WebGPU Developer
# Features", developer.chrome.com/docs/web-platform/webgpu/developer-features).
PRECISE_TIMESTAMPS = ("--enable-webgpu-developer-features",)

# GPU device files in /dev. Without one, Chromium with the flags of a real GPU never finishes a
# frame of a page.
GPU_NODES = ("nvidia[0-9]*", "dri/renderD*")

EXECUTABLES = ("chromium", "google-chrome")


def find_chromium(bundled_path: str) -> str:
    """The path of Chromium: TENSORBROOK_CHROMIUM, else Playwright's own, else one on the PATH."""
    configured = os.environ.get("TENSORBROOK_CHROMIUM")
    if configured:
        return require_existing(configured)
    if Path(bundled_path).exists():
        return bundled_path
    path = next(filter(None, map(shutil.which, EXECUTABLES)), None)
    if path is None:
        raise FileNotFoundError("Chromium was not found; install it with `playwright install "
                                "chromium`, or set TENSORBROOK_CHROMIUM to its path")
    return path


def require_existing(path: str) -> str:
    if not Path(path).exists():
        raise FileNotFoundError(f"TENSORBROOK_CHROMIUM is {path}, which does not exist; set it to "
                                "the path of Chromium, or unset it to search for Chromium")
    return path


def real_gpu_flags() -> tuple[str, ...]:
    """The flags with which Chromium on Linux uses a real GPU; other systems need none."""
    has_gpu = any(any(Path("/dev").glob(nodes)) for nodes in GPU_NODES)
    return REAL_GPU if sys.platform == "linux" and has_gpu else ()


def launch_options(bundled_path: str, headed: bool = False,
                   extra_flags: Sequence[str] = ()) -> dict:
    """Arguments of Playwright's `chromium.launch`; `bundled_path` is Playwright's own browser."""
    # Chromium refuses to start as root inside its sandbox.
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    flags = [*FLAGS, *extra_flags, *(("--no-sandbox",) if is_root else ())]
    # Ctrl-C interrupts the script, not the browser.
    return {"executable_path": find_chromium(bundled_path), "headless": not headed, "args": flags,
            "handle_sigint": False}
