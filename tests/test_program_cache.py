"""Programs kept from one session to the next: found by what they compute, and as good as new."""
import pytest

import backends
import tensorbrook as tf
from tensorbrook.backends.wasm.compiled_program import CompiledProgram
from tensorbrook.compiler import simplify
from tensorbrook.eager import EAGER, EagerContext, compile
from tensorbrook.ir import PRIMITIVES, digest


class Memory:
    """What a host keeps, as bytes in a dictionary, as the page has them."""

    def __init__(self):
        self.images: dict[str, bytes] = {}
        self.get, self.put = self.images.get, self.images.__setitem__


@pytest.fixture
def kept(monkeypatch):
    with backends.on("wasm"):
        memory = Memory()
        monkeypatch.setattr(EAGER.backend.host, "program_cache", memory)
        yield memory.images


def traced(f, *args):
    return simplify(tf.function(f).get_concrete_function(*args).graph)


X, Y = tf.ones((3, 5)), tf.ones((5,))
DIFFERENT = {
    "as it is": lambda x, y: x * y + 1.5,
    "another number": lambda x, y: x * y + 1.25,
    "zero": lambda x, y: x * y + 0.0,
    "minus zero": lambda x, y: x * y + -0.0,
    "another primitive": lambda x, y: x * y - 1.5,
    "another argument": lambda x, y: x * x + 1.5,
    "another attribute": lambda x, y: tf.reduce_sum(x * y, axis=0),
    "the attribute's other value": lambda x, y: tf.reduce_sum(x * y, axis=1),
    "a constant": lambda x, y: x * tf.constant([1.0, 2.0, 3.0, 4.0, 5.0]),
    "another constant": lambda x, y: x * tf.constant([1.0, 2.0, 3.0, 4.0, 6.0]),
    "another result": lambda x, y: (x * y + 1.5, x),
}


def test_what_computes_the_same_has_one_digest_and_all_else_another():
    found = {name: digest(traced(f, X, Y)) for name, f in DIFFERENT.items()}
    assert len(set(found.values())) == len(DIFFERENT)
    assert digest(traced(lambda a, b: 1.5 + a * b, X, Y)) == digest(traced(
        lambda a, b: 1.5 + a * b, tf.zeros((3, 5)), Y))
    assert digest(traced(DIFFERENT["as it is"], tf.ones((4, 5)), Y)) != found["as it is"]


def step_of(w, v):
    scale = tf.constant([[0.5, 0.25], [1.0, 2.0]])

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(x @ (w * scale) + v))
        for variable, g in zip((w, v), tape.gradient(loss, (w, v))):
            variable.assign_sub(0.1 * g)
        return loss
    return step


def losses():
    w, v = tf.Variable([[1.0, 2.0], [3.0, 4.0]]), tf.Variable([0.5, -0.5])
    step = step_of(w, v)
    return [float(step(tf.ones((4, 2)))) for _ in range(3)], w.numpy().tolist()


def test_a_recalled_program_does_what_the_compiled_one_did(kept):
    before = EAGER.backend.compiled
    first = losses()
    compiled, known = EAGER.backend.compiled, len(kept)
    assert compiled > before and known
    assert losses() == first
    assert (EAGER.backend.compiled, len(kept)) == (compiled, known)


def test_an_image_comes_back_from_its_bytes(kept):
    losses()
    for data in kept.values():
        image = CompiledProgram.from_bytes(data)
        assert image.to_bytes() == data
        assert image.module[:4] == b"\0asm" or not image.kernel_count


def test_each_build_of_the_engine_keeps_its_own(kept, monkeypatch):
    graph = traced(DIFFERENT["as it is"], X, Y)
    compile(graph, EAGER.backend)
    assert EAGER.backend.load_cached(graph) is not None
    monkeypatch.setattr(EAGER.backend.host, "relaxed", not EAGER.backend.host.relaxed)
    assert EAGER.backend.load_cached(graph) is None


def test_single_operations_are_kept_too(kept):
    first, second = EagerContext("wasm"), EagerContext("wasm")
    before = EAGER.backend.compiled
    for conductor in (first, second):
        out = conductor.bind(PRIMITIVES["tanh"], [X], {})
        assert out.shape == (3, 5)
    assert EAGER.backend.compiled == before + 1
