"""A Chromium for the tests: one that is there, else one that can be installed."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import environment

PLAYWRIGHTS_OWN = ("from playwright.sync_api import sync_playwright\n"
                   "with sync_playwright() as p: print(p.chromium.executable_path)")


def runs(program: str | Path) -> bool:
    """Does it start here? A browser may lie there and lack the libraries it needs."""
    if os.name == "nt": return Path(program).exists()  # --version would open a window there
    return environment.run_quietly(program, "--version").returncode == 0


def from_setting() -> str | None:
    """The browser that TENSORBROOK_CHROMIUM names; one that does not start is a mistake."""
    program = os.environ.get("TENSORBROOK_CHROMIUM")
    if not program: return None
    if runs(program): return program
    sys.exit(f"TENSORBROOK_CHROMIUM is {program}, which does not start as a Chromium; "
             "set it to one that does, or unset it to let this script find one")


def from_playwright() -> str | None:
    """The Chromium that `playwright install` downloads, if it did."""
    said = environment.run_quietly(environment.PYTHON, "-c", PLAYWRIGHTS_OWN)
    program = said.stdout.strip()
    return program if said.returncode == 0 and runs(program) else None


def from_path() -> str | None:
    """`chromium` or `google-chrome` on the PATH."""
    programs = filter(None, map(shutil.which, ["chromium", "google-chrome"]))
    return next(filter(runs, programs), None)


def install_with_playwright() -> str | None:
    print("no Chromium found: trying `playwright install chromium`", flush=True)
    environment.run_quietly(environment.PYTHON, "-m", "playwright", "install", "chromium")
    return from_playwright()


def install_with_apt() -> str | None:
    """Debian's own package, where this is Debian and we may install."""
    if not (Path("/etc/debian_version").exists() and os.geteuid() == 0): return None
    print("that did not work: trying `apt-get install chromium`", flush=True)
    environment.run_quietly("apt-get", "update")
    environment.run_quietly("apt-get", "install", "--yes", "--no-install-recommends", "chromium",
                            env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"})
    return from_path()


def find() -> str:
    """The path of a Chromium that starts; ends the script with a way out where there is none."""
    ways = (from_setting, from_playwright, from_path, install_with_playwright, install_with_apt)
    for way in ways:
        program = way()
        if program: return program
    sys.exit("the page's tests need a Chromium and none could be found or installed; install "
             "`chromium` or `google-chrome`, or set TENSORBROOK_CHROMIUM to one, or leave the "
             "page out with --fast")
