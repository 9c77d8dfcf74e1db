"""Find a Chromium for the tests, or install one."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import debian
import environment

PLAYWRIGHTS_OWN = ("from playwright.sync_api import sync_playwright\n"
                   "with sync_playwright() as p: print(p.chromium.executable_path)")


def runs(program: str | Path) -> bool:
    """Whether the program starts: an installed browser may lack shared libraries."""
    if os.name == "nt": return Path(program).exists()  # --version would open a window on Windows
    return environment.run_quietly(program, "--version").returncode == 0


def from_setting() -> str | None:
    """The browser of TENSORBROOK_CHROMIUM; exits where it does not start."""
    program = os.environ.get("TENSORBROOK_CHROMIUM")
    if not program: return None
    if runs(program): return program
    sys.exit(f"TENSORBROOK_CHROMIUM is {program}, which does not start as a Chromium; "
             "set it to one that does, or unset it to let this script find one")


def from_playwright() -> str | None:
    """The Chromium that `playwright install` downloaded, if any."""
    done = environment.run_quietly(environment.PYTHON, "-c", PLAYWRIGHTS_OWN)
    program = done.stdout.strip()
    return program if done.returncode == 0 and runs(program) else None


def from_path() -> str | None:
    """`chromium` or `google-chrome` on the PATH."""
    programs = filter(None, map(shutil.which, ["chromium", "google-chrome"]))
    return next(filter(runs, programs), None)


def install_with_playwright() -> str | None:
    print("no Chromium found: trying `playwright install chromium`", flush=True)
    environment.run_quietly(environment.PYTHON, "-m", "playwright", "install", "chromium")
    return from_playwright()


def install_with_apt() -> str | None:
    """Debian's package, where this is Debian and the user is root."""
    if not debian.can_install(): return None
    print("Playwright installed none", flush=True)
    debian.install("chromium")
    return from_path()


def find() -> str:
    """The path of a Chromium that starts; exits with a hint where none can be found."""
    sources = (from_setting, from_playwright, from_path, install_with_playwright, install_with_apt)
    for source in sources:
        program = source()
        if program: return program
    sys.exit("the page's tests need a Chromium and none could be found or installed; install "
             "`chromium` or `google-chrome`, or set TENSORBROOK_CHROMIUM to one, or leave the "
             "page out with --fast")
