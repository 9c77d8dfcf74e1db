"""Find Firefox and WebKit for the tests in tests/browsers, or install Debian's packages."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import debian

FIREFOX = ("firefox-esr", "firefox")
MINI_BROWSERS = ("lib/*/webkit2gtk-4.1/MiniBrowser", "libexec/webkit2gtk-4.1/MiniBrowser")
PACKAGES = ("firefox-esr", "webkit2gtk-driver", "libwebkit2gtk-4.1-0", "xvfb")


class Programs(NamedTuple):
    """The paths of the browsers, of WebKit's driver, and of a virtual screen for WebKit."""

    firefox: str | None
    webkit: str | None
    webkit_driver: str | None
    xvfb: str | None


def on_this_machine() -> Programs:
    firefox = next(filter(None, map(shutil.which, FIREFOX)), None)
    webkit = next((str(path) for pattern in MINI_BROWSERS for path in Path("/usr").glob(pattern)),
                  None)
    return Programs(firefox, webkit, shutil.which("WebKitWebDriver"), shutil.which("Xvfb"))


def install() -> None:
    """Install what is missing, where that is possible."""
    if None in on_this_machine() and debian.can_install():
        print("Firefox or WebKit was not found", flush=True)
        debian.install(*PACKAGES)


def find() -> Programs:
    """The programs; raises where one is missing."""
    programs = on_this_machine()
    missing = [name for name, path in zip(Programs._fields, programs) if path is None]
    if not missing: return programs
    raise FileNotFoundError(f"the tests in tests/browsers need {', '.join(missing)}, which could "
                            f"not be found or installed; install {', '.join(PACKAGES)}, or leave "
                            "the page out with --fast")
