"""Computing on a chosen backend within a block."""
from contextlib import contextmanager

import tensorbrook as tf

ALL = ("reference", "wasm")


@contextmanager
def on(name: str):
    before = tf.config.get_backend()
    if before != name:
        tf.config.set_backend(name)
    try:
        yield
    finally:
        if before != name:
            tf.config.set_backend(before)
