"""How large is what people download and install, in bytes, as it is and gzipped."""

from __future__ import annotations

import gzip
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import environment
from tensorbrook.studio.server import STATIC

ENGINE = environment.ROOT / "core/tensorbrook/backends/wasm/engine"


def sizes(static: Path = STATIC, engine: Path = ENGINE) -> dict[str, dict[str, int]]:
    """Of each part its bytes as a file and as gzip sends them."""
    parts = {path.name: [path] for path in sorted(engine.glob("engine-*.wasm"))}
    parts["runtime (run.html's JavaScript)"] = runtime_scripts(static)
    parts["page wheel"] = [static / "tensorbrook.whl"]
    parts["Pyodide"] = sorted((static / "pyodide").glob("*"))
    return {name: measured(paths) for name, paths in parts.items()}


def full_wheel() -> dict[str, int]:
    """The wheel that `pip install` takes, built anew: engine, runtime and Studio included."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel",
                   "--directory", folder]
        environment.check(environment.run_quietly(*command, cwd=environment.ROOT),
                          "could not build the wheel: see above")
        return measured([*Path(folder).glob("*.whl")])


def runtime_scripts(static: Path) -> list[Path]:
    """The page's own scripts that a bare runtime loads: all but those of the Studio."""
    kinds = ("run-*.js", "worker-*.js", "helper-*.js", "notice-*.js")
    return [path for kind in kinds for path in sorted((static / "assets").glob(kind))]


def measured(paths: Sequence[Path]) -> dict[str, int]:
    contents = [path.read_bytes() for path in paths]
    return {"bytes": sum(map(len, contents)),
            "gzip": sum(len(gzip.compress(content)) for content in contents)}
