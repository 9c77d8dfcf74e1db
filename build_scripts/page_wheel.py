"""The wheel that a page installs: the package without its native-only modules."""

from __future__ import annotations

import base64
import hashlib
import tomllib
import zipfile
from pathlib import Path

import environment
import build_cache

CORE = environment.ROOT / "core"
PACKAGE = CORE / "tensorbrook"

# Command-line programs and native hosts: a page has no server, wasmtime or wgpu.
NATIVE_ONLY = {"__main__.py", "cli.py", "backends/wasm/host_wasmtime.py",
               "backends/webgpu/host_wgpu.py", "studio/browser.py", "studio/browser_runner.py",
               "studio/run.py", "studio/server.py"}


def members() -> list[Path]:
    """The files of the wheel: sources and data, without build outputs."""
    files = [path for path in build_cache.files_below(PACKAGE) if path.suffix != ".wasm"]
    return [path for path in files if path.relative_to(PACKAGE).as_posix() not in NATIVE_ONLY]


def version() -> str:
    project = tomllib.loads((environment.ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return project["project"]["version"]


def dist_info() -> dict[str, str]:
    """The files of the dist-info folder, by name."""
    return {"METADATA": f"Metadata-Version: 2.4\nName: tensorbrook\nVersion: {version()}\n",
            "WHEEL": "Wheel-Version: 1.0\nGenerator: tensorbrook\nRoot-Is-Purelib: true\n"
                     "Tag: py3-none-any\n"}


def record_line(name: str, content: bytes) -> str:
    hashed = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{name},sha256={hashed},{len(content)}\n"


def write(out: Path) -> None:
    """Write the wheel; the same sources give the same bytes."""
    folder = f"tensorbrook-{version()}.dist-info"
    contents = {path.relative_to(CORE).as_posix(): path.read_bytes() for path in members()}
    contents |= {f"{folder}/{name}": text.encode() for name, text in dist_info().items()}
    record = "".join(record_line(name, content) for name, content in contents.items())
    contents[f"{folder}/RECORD"] = f"{record}{folder}/RECORD,,\n".encode()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in contents.items():
            # A default ZipInfo has the constant date 1980-01-01, so the bytes are reproducible.
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED, 9)
