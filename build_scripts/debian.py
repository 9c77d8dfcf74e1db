"""Install Debian packages, where this is Debian and the user is root."""

from __future__ import annotations

import os
from pathlib import Path

import environment


def can_install() -> bool:
    return Path("/etc/debian_version").exists() and os.geteuid() == 0


def install(*packages: str) -> bool:
    """Install the packages; returns whether apt-get reports success."""
    print(f"trying `apt-get install {' '.join(packages)}`", flush=True)
    environment.run_quietly("apt-get", "update")
    done = environment.run_quietly(
        "apt-get", "install", "--yes", "--no-install-recommends", *packages,
        env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"})
    return done.returncode == 0
