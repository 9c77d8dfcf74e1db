"""The Chromium that runs a page without a window, for `tensorbrook run --page` and the tests."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

# A browser that starts quietly and asks nothing of the network.
FLAGS = ("--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync")

# WebGPU on Linux without a screen: on the machine's GPU, or played by the processor (SwiftShader).
GPU = ("--enable-unsafe-webgpu", "--enable-features=Vulkan")
REAL_GPU = (*GPU, "--use-angle=vulkan", "--disable-vulkan-surface")
SOFTWARE_GPU = (*GPU, "--use-vulkan=swiftshader", "--use-webgpu-adapter=swiftshader")

# Else the clock of a page's GPU moves in steps of 0.1 ms, unless it is unsafe anyway ("WebGPU
# Developer Features", developer.chrome.com/docs/web-platform/webgpu/developer-features).
CLOCK = ("--enable-webgpu-developer-features",)

# Where a driver lets programs compute, in /dev. Without any, Chromium does not get along with
# the flags for a real GPU: a page's frames never end.
GPU_NODES = ("nvidia[0-9]*", "dri/renderD*")

NAMES = ("chromium", "google-chrome")


def find(playwrights_own: str) -> str:
    """The path of a Chromium: TENSORBROOK_CHROMIUM, else Playwright's own, else one on the PATH."""
    set_by_user = os.environ.get("TENSORBROOK_CHROMIUM")
    if set_by_user:
        return checked(set_by_user)
    if Path(playwrights_own).exists():
        return playwrights_own
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        raise FileNotFoundError("there is no Chromium here; install one with `playwright install "
                                "chromium`, or set TENSORBROOK_CHROMIUM to the path of one")
    return found


def checked(path: str) -> str:
    if not Path(path).exists():
        raise FileNotFoundError(f"TENSORBROOK_CHROMIUM is {path}, and there is nothing; set it to "
                                "the path of a Chromium, or unset it to let us look for one")
    return path


def real_gpu() -> tuple[str, ...]:
    """The flags with which Chromium uses this machine's GPU; elsewhere it needs none for that."""
    has_one = any(any(Path("/dev").glob(nodes)) for nodes in GPU_NODES)
    return REAL_GPU if sys.platform == "linux" and has_one else ()


def launch_options(playwrights_own: str, headed: bool = False, more: Sequence[str] = ()) -> dict:
    """What Playwright's `chromium.launch` needs; it is told its own browser's path."""
    # Chromium refuses to start as root inside its sandbox.
    as_root = hasattr(os, "geteuid") and os.geteuid() == 0
    flags = [*FLAGS, *more, *(("--no-sandbox",) if as_root else ())]
    # Ctrl-C is for the script: the browser ends when we close it.
    return {"executable_path": find(playwrights_own), "headless": not headed, "args": flags,
            "handle_sigint": False}
