"""Browser runner: runs a script in the page runtime of a headless browser, with its folder."""

from __future__ import annotations

import asyncio
import base64
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlencode

from playwright.async_api import Error, Page, async_playwright

from tensorbrook.studio.browser import (
    PRECISE_TIMESTAMPS, SOFTWARE_GPU, launch_options, real_gpu_flags)
from tensorbrook.studio.server import Server

FAILED = 2
MAX_UPLOAD_BYTES = 64 << 20  # of all files in the script's folder, which are copied to the page
LAUNCHER_NAME = "tensorbrook_launcher.py"
SKIPPED = {"node_modules", "__pycache__"}


def run(script: Path, argv: Sequence[str], *, backend: str | None = None,
        threads: int | None = None, headed: bool = False, software_gpu: bool = False,
        precise_timestamps: bool = False, source: str | None = None) -> int:
    """Run a script in a page, with the files of its folder; returns its exit code.

    With `precise_timestamps` the browser does not round GPU timestamps. `source` is the text of a
    launcher, which runs instead of the script and in the same folder.
    """
    gpu = SOFTWARE_GPU if software_gpu else real_gpu_flags() if backend == "webgpu" else ()
    flags = (*gpu, *PRECISE_TIMESTAMPS) if precise_timestamps else gpu
    query = {"backend": backend, "threads": threads}
    options = urlencode({name: value for name, value in query.items() if value is not None})
    try:
        path = script if source is None else script.with_name(LAUNCHER_NAME)
        job = {"source": source or script.read_text(encoding="utf-8"), "filename": path.as_posix(),
               "argv": list(argv), "files": collect_files(script.parent)}
        return asyncio.run(run_in_browser(job, script.parent, options, headed, flags))
    except (Error, OSError, ValueError) as error:
        print(f"tensorbrook run: {short_message(error)}", file=sys.stderr)
        return FAILED


def short_message(error: Exception) -> str:
    """The error message without the browser's prefix and stack trace."""
    return str(error).partition("\n    at ")[0].removeprefix("Page.evaluate: Error: ")


async def run_in_browser(job: dict, folder: Path, options: str, headed: bool,
                         flags: Sequence[str]) -> int:
    """Run a job in a new browser, write back the files it changed; returns its exit code."""
    with Server() as server:
        async with async_playwright() as playwright:
            chromium = playwright.chromium
            browser = await chromium.launch(
                **launch_options(chromium.executable_path, headed, flags))
            try:
                page = await browser.new_page()
                await page.expose_function("tensorbrookWrite", write)
                await page.goto(f"{server.url}run.html?{options}")
                result = await wait_for_result(page, job)
            finally:
                await browser.close()
    write_back_files(folder, result["files"])
    if result["error"]:
        write("stderr", result["error"])
    return result["exit_code"]


async def wait_for_result(page: Page, job: dict) -> dict:
    """The script's outcome; Ctrl-C interrupts the script in the page, which may handle it."""
    running = asyncio.ensure_future(page.evaluate("job => tensorbrookRun(job)", job))
    while True:
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            assert task is not None, "a coroutine runs in a task"
            task.uncancel()
            await page.evaluate("tensorbrook.runtime.stop()")


def write(stream: str, text: str) -> None:
    """Forward a piece of the script's output to the same stream here."""
    out = sys.stdout if stream == "stdout" else sys.stderr
    out.write(text)
    out.flush()


def collect_files(folder: Path) -> list[list[str]]:
    """[path, base64 content] of each file in a folder; ValueError if they are too large.

    Hidden files, caches and virtual environments are excluded.
    """
    files, total = [], 0
    for path in walk_files(folder):
        content = path.read_bytes()
        total += len(content)
        if total > MAX_UPLOAD_BYTES:
            raise ValueError(f"the folder {folder} holds more than {MAX_UPLOAD_BYTES >> 20} MB, "
                             "all of which would be copied to the page; move the script to a "
                             "separate folder")
        files.append([path.relative_to(folder).as_posix(), base64.b64encode(content).decode()])
    return files


def walk_files(folder: Path):
    """The visible files below a folder, except for caches and virtual environments."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if should_upload(Path(parent, name)))
        yield from (Path(parent, name) for name in sorted(names)
                    if not name.startswith(".") and Path(parent, name).is_file())


def should_upload(folder: Path) -> bool:
    """Whether a folder is visible, and neither a cache nor a virtual environment."""
    return not (folder.name.startswith(".") or folder.name in SKIPPED
                or (folder / "pyvenv.cfg").exists())


def write_back_files(folder: Path, files: Sequence[Sequence[str]]) -> None:
    """Write the files that the script created or changed to its folder."""
    for name, content in files:
        path = (folder / name).resolve()
        assert path.is_relative_to(folder), f"{name} is outside of {folder}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(content))
