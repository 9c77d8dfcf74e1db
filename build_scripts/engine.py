"""Compile the engine: four builds for the package, and two for the kernel tests.

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
TEST_SIMD_ENGINE = ROOT / "build/engine-test-simd.wasm"

SIMD = ("simd128", "bulk_memory", "mutable_globals")
RELAXED = (*SIMD, "relaxed_simd")
THREADS = ("atomics",)
MAX_MEMORY = 65535 * 65536  # the largest number of pages whose size in bytes fits 32 bits
STACK_BYTES = 65536

KERNEL = re.compile(r"^KERNEL\((\w+),", re.MULTILINE)
FUNCTION = re.compile(r"^EXPORT\s+\w+\s+\*?(\w+)\(", re.MULTILINE)


class Build(NamedTuple):
    """One build of the engine: its file, its WebAssembly features, with or without references."""

    target: Path
    features: tuple[str, ...]
    references: bool = False


BUILDS = (
    Build(ENGINE / "engine-threads.wasm", RELAXED + THREADS),
    Build(ENGINE / "engine-relaxed.wasm", RELAXED),
    Build(ENGINE / "engine-threads-simd.wasm", SIMD + THREADS),
    Build(ENGINE / "engine-simd.wasm", SIMD),
    Build(TEST_ENGINE, RELAXED + THREADS, references=True),
    Build(TEST_SIMD_ENGINE, SIMD + THREADS, references=True),
)


def exports(references: bool = False) -> list[str]:
    """The functions and kernels that engine.h declares; optionally the kernels' references."""
    header = (SOURCES / "engine.h").read_text()
    kernels = KERNEL.findall(header)
    return FUNCTION.findall(header) + kernels + [f"{k}_reference" for k in kernels if references]


def build() -> list[Path]:
    """Compile the builds that are missing or out of date; returns their files."""
    tools = toolchain.find()
    digest = _digest(tools)
    stale = [b for b in BUILDS if not _is_current(b.target, digest)]
    for variant in stale:
        _compile(tools, variant)
        _stamp(variant.target).parent.mkdir(exist_ok=True)
        _stamp(variant.target).write_text(digest)
    return [b.target for b in stale]


def _compile(tools: toolchain.Toolchain, variant: Build) -> None:
    variant.target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor() as pool:
        sources = sorted(SOURCES.rglob("*.c"))
        objects = [Path(folder) / f"{source.stem}.o" for source in sources]
        jobs = [pool.submit(tools.compile, source, target, variant.features, f"-I{SOURCES}")
                for source, target in zip(sources, objects)]
        for job in jobs:
            job.result()
        unfinished = Path(folder) / "engine.wasm"
        tools.link(objects, unfinished, *_link_options(variant))
        variant.target.write_bytes(unfinished.read_bytes())


def _link_options(variant: Build) -> list[str]:
    memory = ["--import-memory"]
    if "atomics" in variant.features:  # only a shared memory must declare its maximum
        memory += ["--shared-memory", f"--max-memory={MAX_MEMORY}"]
    names = [*exports(variant.references), "__stack_pointer", "__heap_base"]
    # Table entry 1 is for a program's epilogues; the engine's functions start at entry 2.
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
        targets = build()
    except toolchain.ToolchainError as error:
        print(error, file=sys.stderr)
        return 1
    for target in targets:
        print(f"{target.relative_to(ROOT)}  {target.stat().st_size / 1000:.1f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
