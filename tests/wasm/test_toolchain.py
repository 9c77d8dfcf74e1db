"""The compilers that build the engine, and what its builds export."""

import os
import re
import subprocess
import sys

import pytest
import wasmtime
from kernels import ENGINE, KERNELS, ROOT

BUILDS = ROOT / "core/tensorbrook/backends/wasm/engine"
NAMES = ["engine-threads", "engine-relaxed", "engine-simd"]
FUNCTIONS = {"setup", "scratch_size", "stack_size", "launch", "park", "publish", "load_address",
             "load_size", "acknowledge", "join", "barrier", "scratch"}
OTHERS = {"__stack_pointer", "__heap_base", "__indirect_function_table"}


def module(path):
    config = wasmtime.Config()
    config.wasm_threads = config.shared_memory = config.wasm_relaxed_simd = True
    return wasmtime.Module.from_file(wasmtime.Engine(config), str(path))


def signatures(path):
    """name -> type, as text, of what a module exports."""
    def text(kind):
        if isinstance(kind, wasmtime.FuncType):
            return f"{[str(p) for p in kind.params]} -> {[str(r) for r in kind.results]}"
        return type(kind).__name__
    return {export.name: text(export.type) for export in module(path).exports}


def build(**environ):
    return subprocess.run([sys.executable, str(ROOT / "build_scripts/engine.py")], check=False,
                          capture_output=True, text=True, env={**os.environ, **environ})


@pytest.mark.parametrize("name", NAMES)
def test_every_build_exports_the_same(built, name):
    found = signatures(BUILDS / f"{name}.wasm")
    assert set(found) == FUNCTIONS | OTHERS | set(KERNELS)
    assert found == signatures(BUILDS / "engine-simd.wasm")


def test_the_test_build_has_the_references_too(built):
    found = signatures(ENGINE)
    assert set(found) == FUNCTIONS | OTHERS | set(KERNELS) | {f"{k}_ref" for k in KERNELS}
    assert all(found[f"{kernel}_ref"] == found[kernel] for kernel in KERNELS)


@pytest.mark.parametrize("name", NAMES)
def test_a_build_imports_memory_alone_and_is_small(built, name):
    path = BUILDS / f"{name}.wasm"
    (memory,) = module(path).imports
    assert (memory.module, memory.name) == ("env", "memory")
    assert memory.type.limits.max == (65535 if name == "engine-threads" else None)
    assert path.stat().st_size < 150_000


def test_a_second_build_does_nothing(built):
    done = build()
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("version, found", [
    ("emcc (Emscripten gcc/clang-like replacement + linker emulating GNU ld) 3.1.6 ()", "3.1.6"),
    ("emcc (Emscripten gcc/clang-like replacement) 2.0.34", "2.0.34"),
    ("something else", "of an unknown version")])
def test_an_old_emscripten_is_refused(built, tmp_path, version, found):
    script = tmp_path / "emcc"
    script.write_text(f"#!/bin/sh\necho '{version}'\n")
    script.chmod(0o755)
    done = build(TENSORBROOK_CC="emcc", PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert done.returncode == 1
    assert re.fullmatch(rf"toolchain: emcc {re.escape(found)} at .*/emcc is too old, .*; install "
                        r"Emscripten 3\.1\.46 or newer, or unset TENSORBROOK_CC .*\n", done.stderr)


def test_a_missing_emscripten_is_named(tmp_path):
    done = build(TENSORBROOK_CC="emcc", PATH=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("toolchain: there is no emcc on the PATH; install Emscripten")


def test_an_unknown_compiler_is_refused():
    done = build(TENSORBROOK_CC="gcc")
    assert done.returncode == 1
    assert "TENSORBROOK_CC is 'gcc'; set it to zig or emcc" in done.stderr
