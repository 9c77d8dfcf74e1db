"""Run a script inside the page runtime, in a browser without a window, as if it ran here."""

from __future__ import annotations

import asyncio
import base64
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlencode

from playwright.async_api import Error, Page, async_playwright

from tensorbrook.studio.browser import CLOCK, SOFTWARE_GPU, launch_options, real_gpu
from tensorbrook.studio.server import Server

FAILED = 2
MOST_BYTES = 64 << 20  # of files beside the script: they all travel into the page
LAUNCHER = "tensorbrook_launcher.py"  # the name of what runs beside a script
SKIPPED = {"node_modules", "__pycache__"}


def run(script: Path, words: Sequence[str], *, backend: str | None = None,
        threads: int | None = None, headed: bool = False, software_gpu: bool = False,
        clock: bool = False, source: str | None = None) -> int:
    """Run a script with its folder in a page; returns its exit code. With `clock` a GPU tells its
    times as finely as it can. With `source`, that runs beside the script and decides what becomes
    of it."""
    gpu = SOFTWARE_GPU if software_gpu else real_gpu() if backend == "webgpu" else ()
    gpu = (*gpu, *CLOCK) if clock else gpu
    query = {"backend": backend, "threads": threads}
    options = urlencode({name: value for name, value in query.items() if value is not None})
    try:
        name = script if source is None else script.with_name(LAUNCHER)
        job = {"source": source or script.read_text(encoding="utf-8"), "filename": name.as_posix(),
               "argv": list(words), "files": collect_files(script.parent)}
        return asyncio.run(run_in_browser(job, script.parent, options, headed, gpu))
    except (Error, OSError, ValueError) as error:
        print(f"tensorbrook run: {short_message(error)}", file=sys.stderr)
        return FAILED


def short_message(error: Exception) -> str:
    """What happened, without the places in the page's own code that a browser adds."""
    return str(error).partition("\n    at ")[0].removeprefix("Page.evaluate: Error: ")


async def run_in_browser(job: dict, folder: Path, options: str, headed: bool,
                         gpu: Sequence[str]) -> int:
    with Server() as server:
        async with async_playwright() as playwright:
            chromium = playwright.chromium
            browser = await chromium.launch(
                **launch_options(chromium.executable_path, headed, gpu))
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
    """The script's outcome. Ctrl-C interrupts it in the page, and then it ends as it likes."""
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
    """Pass on what the script prints, as it comes."""
    out = sys.stdout if stream == "stdout" else sys.stderr
    out.write(text)
    out.flush()


def collect_files(folder: Path) -> list[list[str]]:
    """Path and base64 content of what lies in the folder; hidden and installed things stay out."""
    files, total = [], 0
    for path in walk(folder):
        content = path.read_bytes()
        total += len(content)
        if total > MOST_BYTES:
            raise ValueError(f"the folder {folder} holds more than {MOST_BYTES >> 20} MB, which "
                             "would all travel into the page; give the script a folder of its own")
        files.append([path.relative_to(folder).as_posix(), base64.b64encode(content).decode()])
    return files


def walk(folder: Path):
    """Regular files below a folder, without hidden folders, caches and virtual environments."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if should_upload(Path(parent, name)))
        yield from (Path(parent, name) for name in sorted(names)
                    if not name.startswith(".") and Path(parent, name).is_file())


def should_upload(folder: Path) -> bool:
    return not (folder.name.startswith(".") or folder.name in SKIPPED
                or (folder / "pyvenv.cfg").exists())


def write_back_files(folder: Path, files: Sequence[Sequence[str]]) -> None:
    """Write the files that the script made or changed, inside its folder."""
    for name, content in files:
        path = (folder / name).resolve()
        assert path.is_relative_to(folder), f"{name} leads out of {folder}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(content))
