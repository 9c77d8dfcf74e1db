"""What an interrupt leaves, at whatever line it comes: no half step, and no trace or tape open."""
import inspect
import sys

import pytest

import tensorbrook as tf
from tensorbrook import tensor
from tensorbrook.backends import wasm, webgpu

pytestmark = pytest.mark.usefixtures("backend")


class Interruption:
    """Raises KeyboardInterrupt at the n-th line of a file that runs in its block."""

    def __init__(self, n, file):
        self.n, self.file = n, file

    def __enter__(self):
        sys.settrace(self.heard)

    def __exit__(self, kind, error, trace):
        sys.settrace(None)
        return kind is KeyboardInterrupt

    def heard(self, frame, event, arg):
        if frame.f_code.co_filename != self.file:
            return None
        if event == "line":
            self.n -= 1
            if self.n == 0:
                raise KeyboardInterrupt
        return self.heard


def test_an_interrupt_leaves_all_variables_stepped_or_none():
    a, b, c = (tf.Variable(n) for n in (1.0, 2.0, 3.0))

    @tf.function
    def step():
        for each in (a, b, c):
            each.assign_add(1.0)

    step()
    n, interruption = 0, None
    while interruption is None or interruption.n <= 0:
        n += 1
        kept = [each.value() for each in (a, b, c)]    # so that none is updated in place
        with (interruption := Interruption(n, inspect.getfile(type(step)))):
            step()
        moved = {float(each) - float(old) for each, old in zip((a, b, c), kept)}
        assert moved in ({0.0}, {1.0}), f"line {n}"
    assert n > 5


def test_an_interrupt_on_the_way_into_a_block_leaves_it():
    for block in (tensor.tapes_paused, lambda: tensor.context(object())):
        for n in range(1, 5):
            with tf.GradientTape() as tape:
                with Interruption(n, tensor.__file__), block():
                    pass
                assert (len(tensor.context_stack()), tensor.active_tapes()) == (1, [tape])


@pytest.mark.parametrize("module", [wasm, webgpu])
def test_an_interrupt_on_the_way_to_a_buffer_leaves_nothing_to_give_back(module):
    module.Buffer.__new__(module.Buffer).__del__()
