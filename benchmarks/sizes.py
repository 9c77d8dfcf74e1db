"""Sizes of the downloads and of the installed wheel, in bytes, raw and gzipped."""

from __future__ import annotations

import gzip
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import environment
from tensorbrook.studio.server import STATIC

# Entry points of the runtime in the built page; Vite appends a hash to each name.
RUNTIME = ("run", "worker", "thread_worker", "thread_notice")
ENGINE = environment.ROOT / "core/tensorbrook/backends/wasm/engine"


def sizes(static: Path = STATIC, engine: Path = ENGINE) -> dict[str, dict[str, int]]:
    """The sizes of each part that a page downloads."""
    parts = {path.name: [path] for path in sorted(engine.glob("engine-*.wasm"))}
    parts["runtime (run.html's JavaScript)"] = runtime_scripts(static)
    parts["page wheel"] = [static / "tensorbrook.whl"]
    parts["Pyodide"] = sorted((static / "pyodide").glob("*"))
    return {name: measure(paths) for name, paths in parts.items()}


def full_wheel() -> dict[str, int]:
    """The size of a newly built wheel of `pip install`: engine, runtime and Studio included."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel",
                   "--directory", folder]
        environment.check(environment.run_quietly(*command, cwd=environment.ROOT),
                          "could not build the wheel: see above")
        return measure([*Path(folder).glob("*.whl")])


def runtime_scripts(static: Path) -> list[Path]:
    """The scripts that run.html loads in a page without a GPU."""
    scripts = {entry: sorted((static / "assets").glob(f"{entry}-*.js")) for entry in RUNTIME}
    missing = [entry for entry, paths in scripts.items() if not paths]
    if missing:
        raise FileNotFoundError(f"sizes: the built page has no script {', '.join(missing)}; list "
                                "the scripts of web/runtime that run.html loads in RUNTIME")
    return [path for paths in scripts.values() for path in paths]


def measure(paths: Sequence[Path]) -> dict[str, int]:
    contents = [path.read_bytes() for path in paths]
    return {"bytes": sum(map(len, contents)),
            "gzip": sum(len(gzip.compress(content)) for content in contents)}
