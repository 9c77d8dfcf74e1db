"""Computing on a chosen backend within a block."""
from contextlib import contextmanager

import tensorbrook as tf

ALL = ("reference", "wasm")


@contextmanager
def on(name: str):
    before = tf.config.get_backend()
    tf.config.set_backend(name)
    try:
        yield
    finally:
        tf.config.set_backend(before)
