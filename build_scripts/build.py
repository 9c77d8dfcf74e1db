"""Build everything that is not in git: the engine, the page, and the files that the page loads.

    python build_scripts/build.py
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

import environment
import engine
import node
import third_party_notices
import page_wheel
import build_cache
import toolchain

ROOT = environment.ROOT
SCRIPTS = ROOT / "build_scripts"
STAMPS = ROOT / "build" / "stamps"
STATIC = ROOT / "core/tensorbrook/studio/static"
ENGINES = ("engine-threads.wasm", "engine-relaxed.wasm", "engine-threads-simd.wasm",
           "engine-simd.wasm")
PYODIDE = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip",
           "pyodide-lock.json")


def build(page: bool = True) -> None:
    """Build the engine, the npm packages and, with `page`, the page; skip what is up to date."""
    build_engine()
    tools = node.find()
    node.install_packages(tools)
    if page:
        build_page(tools)


def build_engine() -> None:
    """Build the engine for every kind of host, and two variants for the kernel tests."""
    start = time.monotonic()
    try:
        targets = engine.build()
    except toolchain.ToolchainError as error:
        sys.exit(str(error))
    build_cache.report("engine", bool(targets), start)


def build_page(tools: node.Node) -> None:
    """Build the page with Vite, and the files that it fetches when it starts."""
    key = build_cache.digest(node.WEB)
    build_cache.build_step("page", STAMPS / "page.txt", key,
                           [STATIC / "index.html", STATIC / "run.html"], lambda: bundle(tools))
    copy("pyodide", node.WEB / "node_modules/pyodide", PYODIDE)
    copy("engine", engine.ENGINE, ENGINES)
    build_notices()
    build_page_wheel()
    build_python_snapshot(tools)


def bundle(tools: node.Node) -> None:
    environment.check(node.run(tools, "run", "build"), "could not build the page: see above")


def copy(folder: str, source: Path, names: tuple[str, ...]) -> None:
    """Copy files of one folder into the page's folder of this name."""
    target = STATIC / folder
    key = build_cache.digest(*(source / name for name in names))
    build_cache.build_step(f"page/{folder}", STAMPS / f"page-{folder}.txt", key,
                           [target / name for name in names],
                           lambda: copy_all(source, target, names))


def copy_all(source: Path, target: Path, names: tuple[str, ...]) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copyfile(source / name, target / name)


def build_notices() -> None:
    out = STATIC / "THIRD_PARTY.txt"
    key = build_cache.digest(SCRIPTS / "third_party_notices.py", node.WEB / "package-lock.json")
    build_cache.build_step("page/notices", STAMPS / "page-notices.txt", key, [out],
                           lambda: third_party_notices.write(out))


def build_page_wheel() -> None:
    wheel = STATIC / "tensorbrook.whl"
    key = build_cache.digest(SCRIPTS / "page_wheel.py", page_wheel.version(),
                             *(str(path.relative_to(ROOT)) for path in page_wheel.members()),
                             *page_wheel.members())
    build_cache.build_step("page wheel", STAMPS / "page-wheel.txt", key, [wheel],
                           lambda: page_wheel.write(wheel))


def build_python_snapshot(tools: node.Node) -> None:
    """Build a snapshot of Python with the wheel imported; it halves the start of a page."""
    pyodide, wheel = STATIC / "pyodide", STATIC / "tensorbrook.whl"
    snapshot, script = pyodide / "python.snapshot", node.WEB / "make_python_snapshot.mjs"
    key = build_cache.digest(script, wheel, *(pyodide / name for name in PYODIDE))
    build_cache.build_step("page/snapshot", STAMPS / "page-snapshot.txt", key, [snapshot],
                           lambda: make_python_snapshot(tools, pyodide, wheel, snapshot))


def make_python_snapshot(tools: node.Node, pyodide: Path, wheel: Path, snapshot: Path) -> None:
    environment.check(
        node.run(tools, "run", "snapshot", "--", str(pyodide), str(wheel), str(snapshot)),
        "could not make the Python snapshot that the page starts from: see above")


if __name__ == "__main__":
    environment.enter("build")
    build()
