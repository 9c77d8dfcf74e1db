"""Metadata of a run: the machine, the date and the versions."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from . import page_build

PACKAGES = ("tensorbrook", "numpy", "wasmtime", "wgpu", "jax", "torch")


def describe(browser_version: str) -> dict:
    """The machine, the date and the versions of everything that is measured."""
    return common() | {"chromium": browser_version, "peers": page_build.versions()}


def common() -> dict:
    """The metadata of every run, with or without a browser."""
    return {"date": datetime.now(UTC).isoformat(timespec="seconds"),
            "cpu": processor(), "cores": os.cpu_count(), "system": platform.platform(),
            "python": platform.python_version(),
            "packages": {name: version for name in PACKAGES if (version := version_of(name))}}


def processor() -> str:
    """The processor's model name, or its architecture where the system reports no model."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def version_of(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
