"""Computing on a chosen backend within a block."""
from contextlib import contextmanager

import pytest

import tensorbrook as tf
from tensorbrook import backends
from tensorbrook.backends.wasm import Wasm
from tensorbrook.backends.wasm.host_wasmtime import Host
from tensorbrook.eager import EAGER

ALL = ("reference", "wasm")


@contextmanager
def on(name: str):
    before = EAGER.chosen                    # None where the choice is Tensorbrook's
    tf.config.set_backend(name)
    try:
        yield
    finally:
        tf.config.set_backend(before)


@contextmanager
def threads(count: int):
    """Another backend wasm, with its own number of threads, for a while."""
    with on("reference"), pytest.MonkeyPatch.context() as patch:
        host = Host(count)
        patch.setitem(backends._made, "wasm", Wasm(host))
        with on("wasm"):
            assert tf.config.get_threads() == count
            yield
        host.close()
