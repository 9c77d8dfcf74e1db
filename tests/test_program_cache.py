"""Program cache: keys by content, and cached programs equal compiled programs."""
import pytest

import backends
import tensorbrook as tf
from tensorbrook.backends.wasm.compiled_program import CompiledProgram
from tensorbrook.compiler import optimize
from tensorbrook.eager import EAGER, EagerContext, compile
from tensorbrook.ir import PRIMITIVES, digest


class MemoryCache:
    """A program cache in a dictionary, with the interface of the cache of a page."""

    def __init__(self):
        self.programs: dict[str, bytes] = {}
        self.get, self.put = self.programs.get, self.programs.__setitem__


@pytest.fixture
def cached(monkeypatch):
    with backends.on("wasm"):
        cache = MemoryCache()
        monkeypatch.setattr(EAGER.backend.host, "program_cache", cache)
        yield cache.programs


def graph_of(f, *args):
    return optimize(tf.function(f).get_concrete_function(*args).graph)


X, Y = tf.ones((3, 5)), tf.ones((5,))
VARIANTS = {
    "original": lambda x, y: x * y + 1.5,
    "another constant operand": lambda x, y: x * y + 1.25,
    "zero": lambda x, y: x * y + 0.0,
    "minus zero": lambda x, y: x * y + -0.0,
    "another primitive": lambda x, y: x * y - 1.5,
    "another argument": lambda x, y: x * x + 1.5,
    "another attribute": lambda x, y: tf.reduce_sum(x * y, axis=0),
    "a third attribute": lambda x, y: tf.reduce_sum(x * y, axis=1),
    "a constant tensor": lambda x, y: x * tf.constant([1.0, 2.0, 3.0, 4.0, 5.0]),
    "another constant tensor": lambda x, y: x * tf.constant([1.0, 2.0, 3.0, 4.0, 6.0]),
    "another result": lambda x, y: (x * y + 1.5, x),
}


def test_graphs_have_equal_digests_only_if_they_compute_the_same():
    digests = {name: digest(graph_of(f, X, Y)) for name, f in VARIANTS.items()}
    assert len(set(digests.values())) == len(VARIANTS)
    assert digest(graph_of(lambda a, b: 1.5 + a * b, X, Y)) == digest(graph_of(
        lambda a, b: 1.5 + a * b, tf.zeros((3, 5)), Y))
    assert digest(graph_of(VARIANTS["original"], tf.ones((4, 5)), Y)) != digests["original"]


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


def test_a_cached_program_gives_the_results_of_the_compiled_program(cached):
    before = EAGER.backend.compiled
    first = losses()
    compiled, entries = EAGER.backend.compiled, len(cached)
    assert compiled > before and entries
    assert losses() == first
    assert (EAGER.backend.compiled, len(cached)) == (compiled, entries)


def test_a_compiled_program_survives_serialization(cached):
    losses()
    for data in cached.values():
        program = CompiledProgram.from_bytes(data)
        assert program.to_bytes() == data
        assert program.module[:4] == b"\0asm" or not program.kernel_count


def test_builds_of_the_engine_have_separate_entries(cached, monkeypatch):
    graph = graph_of(VARIANTS["original"], X, Y)
    compile(graph, EAGER.backend)
    assert EAGER.backend.load_cached(graph) is not None
    monkeypatch.setattr(EAGER.backend.host, "relaxed", not EAGER.backend.host.relaxed)
    assert EAGER.backend.load_cached(graph) is None


def test_single_operations_are_cached(cached):
    first, second = EagerContext("wasm"), EagerContext("wasm")
    before = EAGER.backend.compiled
    for context in (first, second):
        out = context.bind(PRIMITIVES["tanh"], [X], {})
        assert out.shape == (3, 5)
    assert EAGER.backend.compiled == before + 1
