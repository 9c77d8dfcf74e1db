"""The native host chooses the build of the engine for this CPU."""

import platform

import pytest

from tensorbrook.backends.wasm import host_wasmtime


@pytest.mark.parametrize(("machine", "info", "expected"), [
    ("x86_64", "processor : 0\nflags\t\t: fpu sse2 avx avx2 fma bmi2\n", True),
    ("AMD64", "processor : 0\nflags\t\t: fpu sse2 ssse3 fma4\n", False),
    ("x86_64", None, True),
    ("aarch64", "processor : 0\nFeatures\t: fp asimd\n", True),
])
def test_relaxed_simd_needs_fused_multiply_add(machine, info, expected, tmp_path, monkeypatch):
    cpu_info = tmp_path / "cpuinfo"
    if info is not None: cpu_info.write_text(info)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(host_wasmtime, "CPU_INFO", cpu_info)
    assert host_wasmtime.has_fused_multiply_add() is expected


def test_host_uses_the_build_without_relaxed_simd_on_a_cpu_without_fma(monkeypatch):
    monkeypatch.setattr(host_wasmtime, "has_fused_multiply_add", lambda: False)
    host = host_wasmtime.Host(1)
    assert not host.relaxed
    host.close()
