"""The C toolchain of the engine: `zig cc` from PyPI, or Emscripten with TENSORBROOK_CC=emcc.

Both compile the same freestanding C for wasm32 and link with LLVM's wasm-ld, so both produce
modules with the same exports.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

MIN_EMCC = (3, 1, 46)  # earlier versions emit opcodes of an early draft of relaxed SIMD
WARNINGS = ("-Wall", "-Wextra", "-Werror")


class ToolchainError(Exception):
    """The compiler is missing, too old, or rejects a source."""


class Toolchain(NamedTuple):
    """The command lines of a compiler and its linker."""

    version: str  # an input of the build cache
    compiler: tuple[str, ...]
    linker: tuple[str, ...]
    zig: bool

    def compile(self, source: Path, target: Path, features: tuple[str, ...], *options: str):
        """Compile a C file to a WebAssembly object with these features (`simd128`, ...)."""
        flags = (*feature_flags(self.zig, features), "-O3", "-ffreestanding", *WARNINGS, *options)
        _run([*self.compiler, *flags, "-c", str(source), "-o", str(target)])

    def link(self, objects: list[Path], target: Path, *options: str):
        """Link objects to a module without an entry point."""
        _run([*self.linker, "--no-entry", "--gc-sections", "--strip-all", *options,
              *map(str, objects), "-o", str(target)])


def find(environ=os.environ) -> Toolchain:
    """The toolchain of TENSORBROOK_CC: `zig` (the default) or `emcc`."""
    choice = environ.get("TENSORBROOK_CC", "") or "zig"
    if choice == "zig":
        return _zig()
    if Path(choice).name == "emcc":
        return _emscripten(choice, environ)
    raise ToolchainError(f"toolchain: TENSORBROOK_CC is {choice!r}; set it to zig or emcc, "
                         "or leave it unset for zig")


def feature_flags(zig: bool, features: tuple[str, ...]) -> tuple[str, ...]:
    """Flags of WebAssembly features: part of the CPU name for zig, one flag each for Emscripten."""
    if zig:
        return ("-target", "wasm32-freestanding", "-mcpu=" + "+".join(("generic", *features)))
    return tuple("-m" + feature.replace("_", "-") for feature in features)


def _zig() -> Toolchain:
    zig = (sys.executable, "-m", "ziglang")
    try:
        version = _run([*zig, "version"]).strip()
    except ToolchainError:
        raise ToolchainError("toolchain: this Python has no ziglang; install it with "
                             f"{Path(sys.executable).name} -m pip install ziglang") from None
    return Toolchain(f"zig {version}", (*zig, "cc"), (*zig, "wasm-ld"), zig=True)


def _emscripten(command: str, environ) -> Toolchain:
    emcc = shutil.which(command, path=environ.get("PATH"))
    if emcc is None:
        raise ToolchainError("toolchain: there is no emcc on the PATH; install Emscripten 3.1.46 "
                             "or newer, or unset TENSORBROOK_CC to build with zig")
    version = _emcc_version(emcc)
    llvm = _run([str(Path(emcc).resolve().parent / "em-config"), "LLVM_ROOT"]).strip()
    return Toolchain(f"emcc {version}", (emcc,), (_linker(Path(llvm)),), zig=False)


def _linker(llvm: Path) -> str:
    # emcc would link its runtime; its LLVM's linker produces the same module as zig.
    found = sorted(llvm.glob("wasm-ld*"))  # `wasm-ld`, or as Debian calls it, `wasm-ld-19`
    if not found:
        raise ToolchainError(f"toolchain: Emscripten's LLVM in {llvm} has no wasm-ld; install lld, "
                             "or unset TENSORBROOK_CC to build with zig")
    return str(found[0])


def _emcc_version(emcc: str) -> str:
    found = re.search(r"\d+\.\d+\.\d+", _run([emcc, "--version"]))
    version = found.group() if found else "of an unknown version"
    if not found or tuple(map(int, version.split("."))) < MIN_EMCC:
        raise ToolchainError(
            f"toolchain: emcc {version} at {emcc} is too old, its relaxed SIMD is an early draft; "
            f"install Emscripten {'.'.join(map(str, MIN_EMCC))} or newer, "
            "or unset TENSORBROOK_CC to build with zig")
    return version


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolchainError(f"toolchain: {' '.join(command)}\n{done.stderr.strip()}")
    return done.stdout
