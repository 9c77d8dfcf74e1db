"""Memory leaks: memory of dropped tensors is freed at once, without the garbage collector.

A reference cycle that holds a tensor would keep its memory until the next collection, and a loop
with few but large tensors runs out of memory before that.
"""

import gc
import resource
import weakref

import pytest

import backends
import tensorbrook as tf
from tensorbrook.base.lru_cache import LRUCache
from tensorbrook.eager import EAGER


@pytest.fixture(autouse=True)
def wasm_without_collector():
    with backends.on("wasm"):
        gc.collect()
        gc.disable()
        yield
        gc.enable()


def gradient(x):
    with tf.GradientTape() as tape:
        y = tf.reduce_sum(tf.exp(x) * x)
    return tape.gradient(y, x)


def second_derivative(x):
    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            y = tf.reduce_sum(x * x * x)
        g = inner.gradient(y, x)
    return outer.gradient(g, x)


STEPS = {
    "operation": lambda x: tf.exp(x) + 1.0,
    "compiled function": tf.function(lambda x: {"out": (x * 2.0, [x + 1.0])}),
    "compiled gradient": tf.function(gradient),
    "gradient": gradient,
    "second derivative": second_derivative,
    "conversion to Python": lambda x: (x * 1.0).tolist(),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_step_leaks_no_memory(name):
    x, step = tf.Variable(tf.ones((50, 40))), STEPS[name]
    step(x)
    step(x)
    memory = EAGER.backend.memory
    before = memory.in_use
    for _ in range(3):
        step(x)
    assert memory.in_use == before


# ── programs ──


def resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def table_size() -> int:
    main = EAGER.backend.host._main
    return main.table.size(main.store)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
def test_unloaded_programs_free_their_instances_and_table_slots(count):
    with backends.threads(count):
        function = tf.function(lambda x: tf.exp(x) + 1.0)
        x = tf.zeros(1 << 16)
        module = function.get_concrete_function(x).program.compiled.module
        host = EAGER.backend.host
        for _ in range(600):                      # beyond the first replacement of the stores
            host.unload(host.load(module))
        slots, before = table_size(), resident_bytes()
        for _ in range(1500):
            host.unload(host.load(module))
        assert table_size() == slots
        assert resident_bytes() - before < 8e6    # 1,500 instances take about 30 MB
        assert float(tf.reduce_sum(function(x))) == 2 << 16


def test_programs_in_use_survive_a_replacement_of_the_stores():
    with backends.threads(2):
        functions = [tf.function(lambda x, n=n: x + float(n)) for n in range(40)]
        x = tf.zeros(1 << 16)
        assert [float(f(x)[7]) for f in functions] == list(range(40))
        host = EAGER.backend.host
        module = functions[0].get_concrete_function(x).program.compiled.module
        main = host._main
        for _ in range(600):
            host.unload(host.load(module))
        assert host._main is not main
        assert [float(f(x)[7]) for f in functions] == list(range(40))


def test_a_load_that_fails_leaks_no_table_slot():
    with backends.threads(2):
        host = EAGER.backend.host
        module = tf.function(lambda x: x + 1.0).get_concrete_function(
            tf.zeros(1 << 16)).program.compiled.module
        with pytest.MonkeyPatch.context() as patch:
            helper = host._helpers[0]
            for _ in range(5):
                patch.setattr(host, "_collect_errors", lambda: "one thread")
                patch.setattr(helper, "_load", lambda: helper.instance.command_done(0))
                with pytest.raises(RuntimeError, match="loading failed on one thread"):
                    host.load(module)
        index = host.load(module)
        assert index < table_size() == index + 1


def test_the_cache_of_eager_programs_evicts_the_least_recently_used(monkeypatch):
    chain = EAGER.chain
    monkeypatch.setattr(chain, "programs", LRUCache(8))
    frequent = tf.ones((3, 1))
    for n in range(1, 40):
        tf.ones((2, n)) * 2.0
        compiled = EAGER.backend.compiled
        frequent * 2.0
        assert n == 1 or EAGER.backend.compiled == compiled
        assert len(chain.programs) <= 8
        assert n < 8 or len(chain.programs) == 8


def test_evicted_programs_are_unloaded(monkeypatch):
    monkeypatch.setattr(EAGER.chain, "programs", LRUCache(4))
    x = tf.zeros(7)
    programs = weakref.WeakSet()
    for n in range(12):
        tf.concat([x, tf.zeros(n)], axis=0)
        programs.update(program for program, _ in EAGER.chain.programs.values())
    assert len(programs) == len(EAGER.chain.programs) == 4


def test_the_cache_of_scalars_evicts_the_least_recently_used(monkeypatch):
    monkeypatch.setattr(EAGER.chain, "scalars", LRUCache(4))
    x = tf.zeros(3)
    for n in range(20):
        assert (x + 0.5 + float(n)).tolist() == [n + 0.5] * 3
        assert any(key[2] == "0.5" for key in EAGER.chain.scalars)
        assert len(EAGER.chain.scalars) == min(n + 2, 4) or n == 0


# ── tapes ──


class Intermediate:
    """Functions that make a large intermediate tensor under a tape, with weak references to it."""

    def __init__(self, persistent=False):
        self.tape, self.references = tf.GradientTape(persistent=persistent), []

    def loss(self, x):
        with self.tape as tape:
            tape.watch(x)
            y = tf.exp(x)
            z = tf.sin(y)
            self.references += [weakref.ref(y), weakref.ref(z)]
            return tf.reduce_sum(z)

    def count(self):
        return sum(reference() is not None for reference in self.references)


def test_a_used_tape_frees_the_activations():
    recorded, x = Intermediate(), tf.ones((50, 40))
    loss = recorded.loss(x)
    assert recorded.count() == 2
    gradient = recorded.tape.gradient(loss, x)
    assert recorded.count() == 0 and gradient.shape == (50, 40)
    with pytest.raises(tf.errors.FailedPreconditionError, match="already used"):
        recorded.tape.gradient(loss, x)


def test_a_used_tape_frees_the_values_of_variables():
    variable, values = tf.Variable(tf.ones((50, 40))), []
    with tf.GradientTape() as tape:
        value = variable.value()
        values.append(weakref.ref(value))
        loss = tf.reduce_sum(value * value)
    del value
    gradient = tape.gradient(loss, variable)
    assert values[0]() is None and gradient.shape == (50, 40)
    assert tape.watched_variables() == (variable,)


def test_a_used_tape_frees_the_arguments_of_functions():
    function = tf.function(lambda x: tf.exp(x) * 2.0)
    recorded, x = Intermediate(), tf.ones((50, 40))
    with recorded.tape as tape:
        tape.watch(x)
        y = function(x)
        recorded.references.append(weakref.ref(y))
        loss = tf.reduce_sum(function(y))
    del y
    tape.gradient(loss, x)
    assert recorded.count() == 0


def test_a_persistent_tape_frees_its_records_with_the_tape():
    recorded, x = Intermediate(persistent=True), tf.ones((50, 40))
    loss = recorded.loss(x)
    first, second = recorded.tape.gradient(loss, x), recorded.tape.gradient(loss, x)
    assert first.tolist() == second.tolist() and recorded.count() == 2
    del recorded.tape
    assert recorded.count() == 0
