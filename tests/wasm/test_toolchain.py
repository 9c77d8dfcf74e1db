"""The compilers that build the engine, and the exports of its builds."""

import os
import re
import subprocess
import sys

import pytest
import wasmtime
from kernels import ENGINE, KERNELS, ROOT

BUILDS = ROOT / "core/tensorbrook/backends/wasm/engine"
NAMES = ["engine-threads", "engine-relaxed", "engine-threads-simd", "engine-simd"]
FUNCTIONS = {"setup", "scratch_size", "stack_size", "scratch", "run_program", "worker_loop",
             "post_command", "wait_command", "command_done", "load_address", "load_size", "barrier"}
LINKER_EXPORTS = {"__stack_pointer", "__heap_base", "__indirect_function_table"}


def load_module(path):
    config = wasmtime.Config()
    config.wasm_threads = config.shared_memory = config.wasm_relaxed_simd = True
    return wasmtime.Module.from_file(wasmtime.Engine(config), str(path))


def signatures(path):
    """Return {name: type as text} of the exports of a module."""
    def format_type(kind):
        if isinstance(kind, wasmtime.FuncType):
            return f"{[str(p) for p in kind.params]} -> {[str(r) for r in kind.results]}"
        return type(kind).__name__
    return {export.name: format_type(export.type) for export in load_module(path).exports}


def build(**environ):
    return subprocess.run([sys.executable, str(ROOT / "build_scripts/engine.py")], check=False,
                          capture_output=True, text=True, env={**os.environ, **environ})


@pytest.mark.parametrize("name", NAMES)
def test_all_builds_have_the_same_exports(engine_files, name):
    exports = signatures(BUILDS / f"{name}.wasm")
    assert set(exports) == FUNCTIONS | LINKER_EXPORTS | set(KERNELS)
    assert exports == signatures(BUILDS / "engine-simd.wasm")


def test_the_test_build_also_exports_the_references(engine_files):
    exports = signatures(ENGINE)
    references = {f"{kernel}_reference" for kernel in KERNELS}
    assert set(exports) == FUNCTIONS | LINKER_EXPORTS | set(KERNELS) | references
    assert all(exports[f"{kernel}_reference"] == exports[kernel] for kernel in KERNELS)


@pytest.mark.parametrize("name", NAMES)
def test_a_build_imports_only_memory_and_is_small(engine_files, name):
    path = BUILDS / f"{name}.wasm"
    (memory,) = load_module(path).imports
    assert (memory.module, memory.name) == ("env", "memory")
    assert memory.type.limits.max == (65535 if "threads" in name else None)
    assert path.stat().st_size < 150_000


def test_a_second_build_does_nothing(engine_files):
    result = build()
    assert (result.returncode, result.stdout) == (0, "")


@pytest.mark.parametrize("version, reported", [
    ("emcc (Emscripten gcc/clang-like replacement + linker emulating GNU ld) 3.1.6 ()", "3.1.6"),
    ("emcc (Emscripten gcc/clang-like replacement) 2.0.34", "2.0.34"),
    ("something else", "of an unknown version")])
def test_an_old_emscripten_is_refused(engine_files, tmp_path, version, reported):
    script = tmp_path / "emcc"
    script.write_text(f"#!/bin/sh\necho '{version}'\n")
    script.chmod(0o755)
    result = build(TENSORBROOK_CC="emcc", PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert result.returncode == 1
    message = (rf"toolchain: emcc {re.escape(reported)} at .*/emcc is too old, .*; install "
               r"Emscripten 3\.1\.46 or newer, or unset TENSORBROOK_CC .*\n")
    assert re.fullmatch(message, result.stderr)


def test_a_missing_emscripten_is_reported(tmp_path):
    result = build(TENSORBROOK_CC="emcc", PATH=str(tmp_path))
    assert result.returncode == 1
    assert result.stderr.startswith("toolchain: there is no emcc on the PATH; install Emscripten")


def test_an_unknown_compiler_is_refused():
    result = build(TENSORBROOK_CC="gcc")
    assert result.returncode == 1
    assert "TENSORBROOK_CC is 'gcc'; set it to zig or emcc" in result.stderr
