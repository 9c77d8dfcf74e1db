"""Computing on a chosen backend within a block."""
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import asdict, replace

import pytest

import tensorbrook as tf
from tensorbrook import backends
from tensorbrook.backends.wasm import Wasm
from tensorbrook.backends.wasm.host_wasmtime import Host
from tensorbrook.backends.webgpu import WebGPU
from tensorbrook.backends.webgpu.device_info import DeviceInfo
from tensorbrook.backends.webgpu.host_wgpu import Host as GpuHost
from tensorbrook.eager import EAGER

ALL = ("reference", "wasm", "webgpu")
COMPILED = ("wasm", "webgpu")            # tested against the reference


@contextmanager
def on(name: str):
    before = EAGER.forced_backend                    # None where the choice is Tensorbrook's
    tf.config.set_backend(name)
    try:
        yield
    finally:
        tf.config.set_backend(before)


def close_all() -> None:
    """Close every compiled backend; the next use of its name makes a new one."""
    closed = [backends._loaded.pop(name) for name in COMPILED if name in backends._loaded]
    EAGER._chains.clear()
    EAGER._automatic = None
    EAGER.refresh()
    tf.random.set_seed(0)                    # the generator's state is on a closed backend
    for backend in closed:
        backend.host.close()


@contextmanager
def threads(count: int, relaxed: bool | None = None):
    """Replace backend wasm by one with `count` threads, and a build of the engine, in the block."""
    with on("reference"), pytest.MonkeyPatch.context() as patch:
        host = Host(count, relaxed=relaxed)
        patch.setitem(backends._loaded, "wasm", Wasm(host))
        with on("wasm"):
            assert tf.config.get_threads() == count
            yield
        host.close()


@contextmanager
def gpu(**device_info):
    """Replace backend webgpu by one with these fields of its device information."""
    with on("reference"), pytest.MonkeyPatch.context() as patch:
        host = GpuHost()
        host.device_info = replace(host.device_info, **device_info)
        patch.setitem(backends._loaded, "webgpu", WebGPU(host))
        with on("webgpu"):
            yield EAGER.backend
        tf.random.set_seed(0)                # the generator's state is on the closed backend
        host.close()


def by_threads(names: Iterable[str], run: Callable) -> dict:
    """Return the results of `run(name)` on 1, 2 and 3 threads, by (name, number of threads)."""
    results = {}
    for count in (1, 2, 3):
        with threads(count):
            results |= {(name, count): run(name) for name in names}
    return results


def minimal_gpu():
    """Replace backend webgpu by one with the limits and features that every device supports."""
    return gpu(**asdict(DeviceInfo()))
