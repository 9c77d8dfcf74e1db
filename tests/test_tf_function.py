"""tf.function: signatures, what is captured, Variables read and written, and what may not leak."""
import copy
import gc
import math
import pickle
import weakref

import numpy as np
import pytest

import tensorbrook as tf

pytestmark = pytest.mark.usefixtures("backend")


class Traced:
    """A function that counts how often it was traced."""

    def __init__(self, f):
        self.times = 0

        def counted(*args, **kwargs):
            self.times += 1
            return f(*args, **kwargs)

        self.call = tf.function(counted)

    def __call__(self, *args, **kwargs):
        return self.call(*args, **kwargs)


# ── signatures ──


def test_traced_once_for_each_shape_and_dtype():
    f = Traced(lambda x: x + x)
    for x in ([1.0, 2.0], [3.0, 4.0], [1, 2], [1.0, 2.0, 3.0], [5.0, 6.0]):
        assert f(tf.constant(x)).tolist() == [2 * v for v in x]
    assert f.times == 3


def test_python_arguments_count_by_value_and_type():
    f = Traced(lambda x, n: x * n)
    x = tf.constant([1.0])
    assert [f(x, n).tolist() for n in (2, 3, 2)] == [[2.0], [3.0], [2.0]]
    assert f.times == 2
    assert f(x, 2.0).tolist() == [2.0] and f.times == 3


def test_structures_go_in_and_come_out():
    @tf.function
    def f(batch, scale=1.0):
        return {"out": [x * scale for x in batch["xs"]], "first": (batch["xs"][0], "label", None)}

    out = f({"xs": (tf.constant(1.0), tf.constant(2.0))}, scale=3.0)
    assert [float(x) for x in out["out"]] == [3, 6]
    assert float(out["first"][0]) == 1 and out["first"][1:] == ("label", None)


def test_numpy_arguments_are_tensors():
    f = Traced(lambda x: tf.reduce_sum(x))
    assert float(f(np.ones((2, 3), "float32"))) == 6
    assert float(f(np.full((2, 3), 2, "float32"))) == 12
    assert f.times == 1


def test_methods_know_their_object():
    class Scale:
        def __init__(self, by):
            self.by = by

        @tf.function
        def __call__(self, x):
            return x * self.by

        @tf.function(name="scaled")
        def twice(self, x):
            return x * self.by * 2

    two, three, x = Scale(2.0), Scale(3.0), tf.constant(1.0)
    assert [float(two(x)), float(three(x)), float(two(x)), float(two.twice(x))] == [2, 3, 2, 4]


def test_what_is_printed_about_it():
    f = tf.function(lambda x: x + 1)
    with pytest.raises(tf.errors.FailedPreconditionError, match="has not been called yet; call it"):
        _ = f.plan
    f(tf.constant([1.0]))
    assert "float32[1]" in str(f.plan)


# ── what comes from outside ──


def test_captured_tensors_and_numbers():
    a, b = tf.constant([1.0, 2.0]), 3.0
    f = tf.function(lambda x: x * a + b)
    assert f(tf.constant([1.0, 1.0])).tolist() == [4.0, 5.0]


def test_a_captured_tensor_keeps_its_value():
    held = [tf.constant([1.0]) + 0.0]
    f = tf.function(lambda x: x + held[0])
    assert f(tf.constant([1.0])).tolist() == [2.0]
    held[0] = tf.constant([10.0])
    assert f(tf.constant([1.0])).tolist() == [2.0], "Python ran only while it was traced"


def test_results_that_are_arguments_captures_and_constants():
    held = tf.constant([7.0]) * 1.0
    f = tf.function(lambda x: (x, held, tf.constant([1, 2]), x, 4.0))
    x = tf.constant([5.0])
    out = f(x)
    assert [np.asarray(o).tolist() for o in out] == [[5.0], [7.0], [1, 2], [5.0], 4.0]


def test_a_function_without_tensors():
    assert float(tf.function(lambda: tf.constant(2.0) * 3)()) == 6
    assert tf.function(lambda: None)() is None


# ── Variables ──


def test_variables_are_read_each_time():
    v = tf.Variable(1.0)
    f = tf.function(lambda x: x + v)
    assert float(f(tf.constant(1.0))) == 2
    v.assign(5.0)
    assert float(f(tf.constant(1.0))) == 6


def test_variables_are_written():
    v = tf.Variable([1.0, 2.0])

    @tf.function
    def step(x):
        v.assign_add(x)
        v.assign(v * 2)
        return v + 0.0

    assert step(tf.constant([1.0, 1.0])).tolist() == [4.0, 6.0]
    assert v.tolist() == [4.0, 6.0]
    assert step(tf.constant([0.0, 0.0])).tolist() == [8.0, 12.0]


def test_reads_before_and_after_a_write_differ():
    v = tf.Variable(1.0)

    @tf.function
    def f():
        before = v.value()
        v.assign(before + 10)
        return before, v.value(), before + v

    assert [float(x) for x in f()] == [1, 11, 12]
    assert [float(x) for x in f()] == [11, 21, 32]


def test_two_variables_swap():
    a, b = tf.Variable(np.arange(300, dtype="float32")), tf.Variable(np.ones(300, "float32"))

    @tf.function
    def swap():
        old = a.value()
        a.assign(b)
        b.assign(old)

    for turn in range(1, 5):
        swap()
        assert float(a[5]) == (1 if turn % 2 else 5) and float(b[5]) == (5 if turn % 2 else 1)


def test_three_variables_rotate_with_a_reversal():
    values = [np.random.default_rng(i).normal(size=(17,)).astype("float32") for i in range(3)]
    a, b, c = map(tf.Variable, values)

    @tf.function
    def rotate():
        old = a.value()
        a.assign(b[::-1])
        b.assign(c + old)
        c.assign(old[::-1] * 2)

    x, y, z = values
    for _ in range(3):
        rotate()
        x, y, z = y[::-1], z + x, x[::-1] * 2
        for ours, theirs in zip((a, b, c), (x, y, z)):
            np.testing.assert_allclose(np.asarray(ours), theirs, rtol=1e-6)


def test_a_variable_updated_through_a_view_of_itself():
    v = tf.Variable(np.arange(12, dtype="float32").reshape(3, 4))
    f = tf.function(lambda: v.assign(v[::-1] + tf.reduce_sum(v, 0)))
    right = np.arange(12, dtype="float32").reshape(3, 4)
    for _ in range(3):
        f()
        right = right[::-1] + right.sum(0)
        np.testing.assert_allclose(np.asarray(v), right)


def test_a_variable_assigned_to_itself_and_to_another():
    a, b = tf.Variable([1.0, 2.0]), tf.Variable([3.0, 4.0])

    @tf.function
    def f():
        a.assign(a)
        b.assign(a)

    f()
    f()
    assert a.tolist() == b.tolist() == [1.0, 2.0]
    a.assign_add([1.0, 1.0])
    assert b.tolist() == [1.0, 2.0]


def test_updates_in_place_never_change_a_tensor():
    v = tf.Variable(np.ones(1000, "float32"))
    step = tf.function(lambda: v.assign_add(tf.ones(1000)))
    held = []
    for _ in range(4):
        held += [v.value(), tf.reshape(v.value(), (10, 100)), v + 0.0, tf.identity(v)]
        step()
        step()
    for i, x in enumerate(held):
        assert np.unique(np.asarray(x)).tolist() == [1 + 2 * (i // 4)]


def test_a_tensor_that_was_assigned_is_never_changed():
    x = tf.constant(np.ones(100, "float32")) * 1.0
    v = tf.Variable(x)
    step = tf.function(lambda: v.assign_add(tf.ones(100)))
    step()
    v.assign(x)
    step()
    step()
    assert np.unique(np.asarray(x)).tolist() == [1.0] and float(v[0]) == 3


def test_a_result_is_not_changed_by_the_next_call():
    v = tf.Variable([0.0])

    @tf.function
    def step():
        v.assign_add([1.0])
        return v.value()

    outs = [step() for _ in range(3)]
    assert [o.tolist() for o in outs] == [[1.0], [2.0], [3.0]]


def test_numpy_shares_nothing_with_a_variable():
    source = np.ones(64, "float32")
    v = tf.Variable(source)
    seen = v.numpy()
    source[:] = 5
    tf.function(lambda: v.assign_add(tf.ones(64)))()
    assert seen[0] == 1 and float(v[0]) == 2


# ── functions in functions ──


def test_a_function_within_a_function_is_part_of_it():
    v = tf.Variable(1.0)

    @tf.function
    def inner(x):
        v.assign_add(1.0)
        return x * v

    @tf.function
    def outer(x):
        return inner(x) + inner(x)

    assert float(outer(tf.constant(10.0))) == 50 and float(v) == 3


def test_init_scope_computes_at_once():
    seen = []

    @tf.function
    def f(x):
        with tf.init_scope():
            seen.append(float(tf.constant(2.0) * 3.0))
        return x

    f(tf.constant(1.0))
    assert seen == [6.0]


def test_a_function_that_raises_leaves_everything_as_it_was():
    f = tf.function(lambda x: x / "two")
    with pytest.raises(tf.errors.OpError):
        f(tf.constant(1.0))
    assert float(tf.constant(1.0) + 1.0) == 2
    bad = tf.function(lambda x: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        bad(tf.constant(1.0))
    assert float(tf.constant(1.0) + 1.0) == 2


def test_programs_go_when_their_function_goes():
    f = tf.function(lambda x: x + 1.0)
    f(tf.constant([1.0]))
    program = weakref.ref(f.get_concrete_function(tf.constant([1.0])).program)
    del f
    gc.collect()
    assert program() is None


# ── what is traced has no value ──


def test_a_traced_tensor_has_no_value():
    @tf.function
    def f(x):
        return float(x)

    with pytest.raises(tf.errors.FailedPreconditionError,
                       match="is being traced by tf.function and has no value yet; return it"):
        f(tf.constant(1.0))


def test_python_cannot_branch_on_a_traced_tensor():
    @tf.function
    def f(x):
        return x if x > 0 else -x

    with pytest.raises(tf.errors.FailedPreconditionError, match="use tf.where"):
        f(tf.constant(1.0))


def test_a_leaked_tensor_says_where_it_belongs():
    kept = []
    tf.function(lambda x: kept.append(x * 2.0))(tf.constant(1.0))
    for use in (lambda: kept[0] + 1.0, lambda: tf.function(lambda x: x + kept[0])(tf.constant(1.0)),
                lambda: tf.Variable(1.0).assign(kept[0])):
        with pytest.raises(tf.errors.FailedPreconditionError, match="belongs to a tf.function"):
            use()


def test_variables_are_made_outside():
    with pytest.raises(tf.errors.FailedPreconditionError, match="create Variables outside"):
        tf.function(lambda x: tf.Variable(x))(tf.constant(1.0))


def test_arguments_that_cannot_be_told_apart():
    with pytest.raises(tf.errors.InvalidArgumentError, match="neither a tensor nor hashable"):
        tf.function(lambda x, s: x)(tf.constant(1.0), {1, 2})


# ── what it costs ──


def test_one_program_run_for_a_call(backend):
    v = tf.Variable(np.ones((64, 64), "float32"))

    @tf.function
    def step(x):
        v.assign_add(tf.matmul(x, v) * 1e-3)
        return tf.reduce_sum(v)

    x = tf.constant(np.ones((64, 64), "float32"))
    step(x)
    before = tf.config.get_counters()
    for _ in range(3):
        step(x)
    after = tf.config.get_counters()
    assert after["programs"] - before["programs"] == 3
    assert after["host_calls"] - before["host_calls"] == (0 if backend == "reference" else 3)


class Counter:
    """A method that is traced once for each object and signature."""

    def __init__(self, by):
        self.by, self.times = tf.Variable(by), 0

    @tf.function
    def __call__(self, x):
        self.times += 1
        return x * self.by

    @tf.function
    def step(self, x):
        self.times += 1
        return x + self.by


class Louder(Counter):
    @tf.function
    def step(self, x):
        return super().step(x) * 10.0


def test_a_method_is_traced_once_for_each_object():
    one, two = Counter(1.0), Louder(2.0)
    for each in (one, two, one, two):
        each(tf.constant(3.0))
        each.step(tf.constant(3.0))
    assert one.times == two.times == 2
    assert float(two.step(tf.constant(3.0))) == 50
    assert "x + y" in str(one.step.plan)


def test_a_method_does_not_keep_its_object():
    thing = Counter(1.0)
    thing.step(tf.constant(1.0))
    gone = weakref.ref(thing)
    del thing
    gc.collect()
    assert gone() is None


def test_an_object_with_methods_is_copied_without_their_programs():
    thing = Counter(1.0)
    thing.step(tf.constant(1.0))
    for twin in (copy.deepcopy(thing), pickle.loads(pickle.dumps(thing))):
        twin.by.assign(5.0)
        assert float(twin.step(tf.constant(1.0))) == 6
    assert float(thing.step(tf.constant(1.0))) == 2


def test_a_copied_function_traces_anew():
    f = tf.function(abs)
    f(tf.constant(-1.0))
    assert float(copy.deepcopy(f)(tf.constant(-2.0))) == 2


def test_zero_and_minus_zero_are_different_arguments(backend):
    divided = tf.function(lambda by, x: x / by)
    x = tf.constant(1.0)
    assert [float(divided(0.0, x)), float(divided(-0.0, x))] == [math.inf, -math.inf]
    assert [float(divided(0.0, -x)), float(divided(-0.0, -x))] == [-math.inf, math.inf]
    assert math.isnan(float(divided(0.0, 0.0 * x)))


def test_only_the_latest_signatures_are_kept(monkeypatch):
    monkeypatch.setattr(type(tf.function(abs)), "MAX_SIGNATURES", 3)
    f, x = tf.function(lambda n, x: x + n), tf.constant(1.0)
    for n in range(3):
        f(n, x)
    with pytest.warns(RuntimeWarning, match="it met 3 signatures, .* tf.constant") as w:
        f(3, x)
    assert w[0].filename == __file__
    assert [float(f(n, x)) for n in range(5)] == [1, 2, 3, 4, 5]
    assert len(f._cache) == 3


def test_a_result_that_nobody_asked_of_has_no_part_in_a_gradient():
    f = tf.function(lambda x: (x * 2.0, tf.exp(x * 1000.0), tf.cast(x, tf.int32)))
    x = tf.constant([1.0, 2.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y, overflown, _ = f(x)
    assert tape.gradient(y, x).tolist() == [2, 2]
    assert overflown.tolist() == [math.inf, math.inf]
