"""Compile the engine: three builds for the package, and one for the kernel tests.

    python build_scripts/engine.py        # a second run does nothing when no input has changed
"""

import hashlib
import re
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent))
import toolchain  # noqa: E402  (this folder holds scripts, not a package)

ROOT = Path(__file__).parent.parent
SOURCES = ROOT / "wasm"
ENGINE = ROOT / "core/tensorbrook/backends/wasm/engine"
TEST_ENGINE = ROOT / "build/engine-test.wasm"

SIMD = ("simd128", "bulk_memory", "mutable_globals")
RELAXED = (*SIMD, "relaxed_simd")
THREADS = (*RELAXED, "atomics")
MAX_MEMORY = 65535 * 65536  # the most pages whose size in bytes still fits 32 bits
STACK_BYTES = 65536

KERNEL = re.compile(r"^KERNEL\((\w+),", re.MULTILINE)
FUNCTION = re.compile(r"^EXPORT\s+\w+\s+\*?(\w+)\(", re.MULTILINE)


class Build(NamedTuple):
    """One module to make: where, with which features, and whether with the references."""

    target: Path
    features: tuple[str, ...]
    references: bool = False


BUILDS = (
    Build(ENGINE / "engine-threads.wasm", THREADS),
    Build(ENGINE / "engine-relaxed.wasm", RELAXED),
    Build(ENGINE / "engine-simd.wasm", SIMD),
    Build(TEST_ENGINE, THREADS, references=True),
)


def exports(references: bool = False) -> list[str]:
    """What engine.h declares: its functions and kernels, and the kernels' references if asked."""
    header = (SOURCES / "engine.h").read_text()
    kernels = KERNEL.findall(header)
    return FUNCTION.findall(header) + kernels + [f"{k}_reference" for k in kernels if references]


def build() -> list[Path]:
    """Make what is missing or out of date; return what was made."""
    tools = toolchain.find()
    digest = _digest(tools)
    stale = [b for b in BUILDS if not _is_current(b.target, digest)]
    for one in stale:
        _compile(tools, one)
        _stamp(one.target).parent.mkdir(exist_ok=True)
        _stamp(one.target).write_text(digest)
    return [b.target for b in stale]


def _compile(tools: toolchain.Toolchain, one: Build) -> None:
    one.target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor() as pool:
        sources = sorted(SOURCES.rglob("*.c"))
        objects = [Path(folder) / f"{source.stem}.o" for source in sources]
        made = [pool.submit(tools.compile, source, target, one.features, f"-I{SOURCES}")
                for source, target in zip(sources, objects)]
        for each in made:
            each.result()
        unfinished = Path(folder) / "engine.wasm"
        tools.link(objects, unfinished, *_link_options(one))
        one.target.write_bytes(unfinished.read_bytes())


def _link_options(one: Build) -> list[str]:
    memory = ["--import-memory"]
    if "atomics" in one.features:  # only a shared memory must say how large it may become
        memory += ["--shared-memory", f"--max-memory={MAX_MEMORY}"]
    names = [*exports(one.references), "__stack_pointer", "__heap_base"]
    # Entry 1 of the table is a program's, for its epilogues: the engine's own begin behind it.
    table = ["--export-table", "--growable-table", "--table-base=2"]
    return [*memory, *table, "-z", f"stack-size={STACK_BYTES}",
            *(f"--export={name}" for name in names)]


def _digest(tools: toolchain.Toolchain) -> str:
    files = sorted(p for p in SOURCES.rglob("*") if p.suffix in (".c", ".h"))
    scripts = [Path(__file__), Path(toolchain.__file__)]
    content = hashlib.sha256(tools.version.encode())
    for file in [*files, *scripts]:
        content.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return content.hexdigest()


def _stamp(target: Path) -> Path:
    return ROOT / "build" / f"{target.stem}.inputs"


def _is_current(target: Path, digest: str) -> bool:
    stamp = _stamp(target)
    return target.exists() and stamp.exists() and stamp.read_text() == digest


def main() -> int:
    try:
        made = build()
    except toolchain.ToolchainError as error:
        print(error, file=sys.stderr)
        return 1
    for target in made:
        print(f"{target.relative_to(ROOT)}  {target.stat().st_size / 1000:.1f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
