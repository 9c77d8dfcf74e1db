"""KeyboardInterrupt at any line: no partial update, and no open trace or tape."""
import inspect
import sys

import pytest

import tensorbrook as tf
from tensorbrook import tensor
from tensorbrook.backends import wasm, webgpu

pytestmark = pytest.mark.usefixtures("backend")


class Interruption:
    """A context that raises KeyboardInterrupt at the n-th executed line of a file."""

    def __init__(self, n, file):
        self.n, self.file = n, file

    def __enter__(self):
        sys.settrace(self.trace)

    def __exit__(self, kind, error, traceback):
        sys.settrace(None)
        return kind is KeyboardInterrupt

    def trace(self, frame, event, arg):
        if frame.f_code.co_filename != self.file:
            return None
        if event == "line":
            self.n -= 1
            if self.n == 0:
                raise KeyboardInterrupt
        return self.trace


def test_an_interrupted_step_updates_all_variables_or_none():
    a, b, c = (tf.Variable(n) for n in (1.0, 2.0, 3.0))

    @tf.function
    def step():
        for each in (a, b, c):
            each.assign_add(1.0)

    step()
    n, interruption = 0, None
    while interruption is None or interruption.n <= 0:
        n += 1
        old = [each.value() for each in (a, b, c)]     # prevents updates in place
        with (interruption := Interruption(n, inspect.getfile(type(step)))):
            step()
        changes = {float(x) - float(y) for x, y in zip((a, b, c), old)}
        assert changes in ({0.0}, {1.0}), f"line {n}"
    assert n > 5


def test_an_interrupt_while_entering_a_context_leaves_it():
    for block in (tensor.tapes_paused, lambda: tensor.context(object())):
        for n in range(1, 5):
            with tf.GradientTape() as tape:
                with Interruption(n, tensor.__file__), block():
                    pass
                assert (len(tensor.context_stack()), tensor.active_tapes()) == (1, [tape])


@pytest.mark.parametrize("module", [wasm, webgpu])
def test_an_uninitialized_buffer_can_be_finalized(module):
    module.Buffer.__new__(module.Buffer).__del__()
