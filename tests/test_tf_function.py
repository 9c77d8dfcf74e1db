"""tf.function: signatures, captures, Variables, nesting, leaked tensors and program counts."""
import copy
import gc
import math
import pickle
import weakref

import numpy as np
import pytest

import tensorbrook as tf

pytestmark = pytest.mark.usefixtures("backend")


class CountedFunction:
    """A tf.function that counts its traces."""

    def __init__(self, f):
        self.traces = 0

        def counted(*args, **kwargs):
            self.traces += 1
            return f(*args, **kwargs)

        self.call = tf.function(counted)

    def __call__(self, *args, **kwargs):
        return self.call(*args, **kwargs)


# ── signatures ──


def test_a_function_is_traced_once_per_shape_and_dtype():
    f = CountedFunction(lambda x: x + x)
    for x in ([1.0, 2.0], [3.0, 4.0], [1, 2], [1.0, 2.0, 3.0], [5.0, 6.0]):
        assert f(tf.constant(x)).tolist() == [2 * v for v in x]
    assert f.traces == 3


def test_python_arguments_are_part_of_the_signature():
    f = CountedFunction(lambda x, n: x * n)
    x = tf.constant([1.0])
    assert [f(x, n).tolist() for n in (2, 3, 2)] == [[2.0], [3.0], [2.0]]
    assert f.traces == 2
    assert f(x, 2.0).tolist() == [2.0] and f.traces == 3


def test_nested_arguments_and_results():
    @tf.function
    def f(batch, scale=1.0):
        return {"out": [x * scale for x in batch["xs"]], "first": (batch["xs"][0], "label", None)}

    out = f({"xs": (tf.constant(1.0), tf.constant(2.0))}, scale=3.0)
    assert [float(x) for x in out["out"]] == [3, 6]
    assert float(out["first"][0]) == 1 and out["first"][1:] == ("label", None)


def test_numpy_arguments_are_tensors():
    f = CountedFunction(lambda x: tf.reduce_sum(x))
    assert float(f(np.ones((2, 3), "float32"))) == 6
    assert float(f(np.full((2, 3), 2, "float32"))) == 12
    assert f.traces == 1


def test_methods_are_bound_to_their_object():
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


def test_the_plan_is_printable_after_a_call():
    f = tf.function(lambda x: x + 1)
    with pytest.raises(tf.errors.FailedPreconditionError, match="has not been called yet; call it"):
        _ = f.plan
    f(tf.constant([1.0]))
    assert "float32[1]" in str(f.plan)


# ── captures ──


def test_captured_tensors_and_scalars():
    a, b = tf.constant([1.0, 2.0]), 3.0
    f = tf.function(lambda x: x * a + b)
    assert f(tf.constant([1.0, 1.0])).tolist() == [4.0, 5.0]


def test_a_captured_tensor_keeps_its_value():
    captured = [tf.constant([1.0]) + 0.0]
    f = tf.function(lambda x: x + captured[0])
    assert f(tf.constant([1.0])).tolist() == [2.0]
    captured[0] = tf.constant([10.0])
    assert f(tf.constant([1.0])).tolist() == [2.0], "Python runs only while tracing"


def test_results_may_be_arguments_captures_and_constants():
    captured = tf.constant([7.0]) * 1.0
    f = tf.function(lambda x: (x, captured, tf.constant([1, 2]), x, 4.0))
    x = tf.constant([5.0])
    out = f(x)
    assert [np.asarray(o).tolist() for o in out] == [[5.0], [7.0], [1, 2], [5.0], 4.0]


def test_a_function_without_tensors():
    assert float(tf.function(lambda: tf.constant(2.0) * 3)()) == 6
    assert tf.function(lambda: None)() is None


# ── Variables ──


def test_variables_are_read_in_every_call():
    v = tf.Variable(1.0)
    f = tf.function(lambda x: x + v)
    assert float(f(tf.constant(1.0))) == 2
    v.assign(5.0)
    assert float(f(tf.constant(1.0))) == 6


def test_variables_are_assigned():
    v = tf.Variable([1.0, 2.0])

    @tf.function
    def step(x):
        v.assign_add(x)
        v.assign(v * 2)
        return v + 0.0

    assert step(tf.constant([1.0, 1.0])).tolist() == [4.0, 6.0]
    assert v.tolist() == [4.0, 6.0]
    assert step(tf.constant([0.0, 0.0])).tolist() == [8.0, 12.0]


def test_reads_before_and_after_an_assignment_differ():
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

    for n in range(1, 5):
        swap()
        assert float(a[5]) == (1 if n % 2 else 5) and float(b[5]) == (5 if n % 2 else 1)


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
        for variable, expected in zip((a, b, c), (x, y, z)):
            np.testing.assert_allclose(np.asarray(variable), expected, rtol=1e-6)


def test_a_variable_updated_through_a_view_of_itself():
    v = tf.Variable(np.arange(12, dtype="float32").reshape(3, 4))
    f = tf.function(lambda: v.assign(v[::-1] + tf.reduce_sum(v, 0)))
    expected = np.arange(12, dtype="float32").reshape(3, 4)
    for _ in range(3):
        f()
        expected = expected[::-1] + expected.sum(0)
        np.testing.assert_allclose(np.asarray(v), expected)


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


def test_in_place_updates_do_not_change_tensors():
    v = tf.Variable(np.ones(1000, "float32"))
    step = tf.function(lambda: v.assign_add(tf.ones(1000)))
    tensors = []
    for _ in range(4):
        tensors += [v.value(), tf.reshape(v.value(), (10, 100)), v + 0.0, tf.identity(v)]
        step()
        step()
    for i, x in enumerate(tensors):
        assert np.unique(np.asarray(x)).tolist() == [1 + 2 * (i // 4)]


def test_an_assigned_tensor_is_not_changed():
    x = tf.constant(np.ones(100, "float32")) * 1.0
    v = tf.Variable(x)
    step = tf.function(lambda: v.assign_add(tf.ones(100)))
    step()
    v.assign(x)
    step()
    step()
    assert np.unique(np.asarray(x)).tolist() == [1.0] and float(v[0]) == 3


def test_the_next_call_does_not_change_a_result():
    v = tf.Variable([0.0])

    @tf.function
    def step():
        v.assign_add([1.0])
        return v.value()

    outs = [step() for _ in range(3)]
    assert [o.tolist() for o in outs] == [[1.0], [2.0], [3.0]]


def test_numpy_arrays_share_no_memory_with_a_variable():
    source = np.ones(64, "float32")
    v = tf.Variable(source)
    array = v.numpy()
    source[:] = 5
    tf.function(lambda: v.assign_add(tf.ones(64)))()
    assert array[0] == 1 and float(v[0]) == 2


# ── nesting ──


def test_a_nested_function_is_inlined():
    v = tf.Variable(1.0)

    @tf.function
    def inner(x):
        v.assign_add(1.0)
        return x * v

    @tf.function
    def outer(x):
        return inner(x) + inner(x)

    assert float(outer(tf.constant(10.0))) == 50 and float(v) == 3


def test_init_scope_is_eager():
    values = []

    @tf.function
    def f(x):
        with tf.init_scope():
            values.append(float(tf.constant(2.0) * 3.0))
        return x

    f(tf.constant(1.0))
    assert values == [6.0]


def test_an_exception_while_tracing_restores_eager_mode():
    f = tf.function(lambda x: x / "two")
    with pytest.raises(tf.errors.OpError):
        f(tf.constant(1.0))
    assert float(tf.constant(1.0) + 1.0) == 2
    bad = tf.function(lambda x: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        bad(tf.constant(1.0))
    assert float(tf.constant(1.0) + 1.0) == 2


def test_programs_are_freed_with_their_function():
    f = tf.function(lambda x: x + 1.0)
    f(tf.constant([1.0]))
    program = weakref.ref(f.get_concrete_function(tf.constant([1.0])).program)
    del f
    gc.collect()
    assert program() is None


# ── traced tensors have no values ──


def test_a_traced_tensor_has_no_value():
    @tf.function
    def f(x):
        return float(x)

    with pytest.raises(tf.errors.FailedPreconditionError,
                       match="is a symbolic tensor of tf.function and has no value yet; return it"):
        f(tf.constant(1.0))


def test_python_cannot_branch_on_a_traced_tensor():
    @tf.function
    def f(x):
        return x if x > 0 else -x

    with pytest.raises(tf.errors.FailedPreconditionError, match="use tf.where"):
        f(tf.constant(1.0))


def test_using_a_leaked_tensor_is_an_error():
    leaked = []
    tf.function(lambda x: leaked.append(x * 2.0))(tf.constant(1.0))
    for use in (lambda: leaked[0] + 1.0,
                lambda: tf.function(lambda x: x + leaked[0])(tf.constant(1.0)),
                lambda: tf.Variable(1.0).assign(leaked[0])):
        with pytest.raises(tf.errors.FailedPreconditionError, match="symbolic tensor of another"):
            use()


def test_creating_a_variable_while_tracing_is_an_error():
    with pytest.raises(tf.errors.FailedPreconditionError, match="create Variables outside"):
        tf.function(lambda x: tf.Variable(x))(tf.constant(1.0))


def test_arguments_that_are_not_hashable_are_an_error():
    with pytest.raises(tf.errors.InvalidArgumentError, match="neither a tensor nor hashable"):
        tf.function(lambda x, s: x)(tf.constant(1.0), {1, 2})


# ── program runs, methods and signatures ──


def test_a_call_runs_one_program(backend):
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


class CountedMethods:
    """An object with tf.function methods that count their traces."""

    def __init__(self, by):
        self.by, self.traces = tf.Variable(by), 0

    @tf.function
    def __call__(self, x):
        self.traces += 1
        return x * self.by

    @tf.function
    def step(self, x):
        self.traces += 1
        return x + self.by


class Subclass(CountedMethods):
    @tf.function
    def step(self, x):
        return super().step(x) * 10.0


def test_a_method_is_traced_once_per_object():
    first, second = CountedMethods(1.0), Subclass(2.0)
    for each in (first, second, first, second):
        each(tf.constant(3.0))
        each.step(tf.constant(3.0))
    assert first.traces == second.traces == 2
    assert float(second.step(tf.constant(3.0))) == 50
    assert "x + y" in str(first.step.plan)


def test_a_method_does_not_keep_its_object_alive():
    counted = CountedMethods(1.0)
    counted.step(tf.constant(1.0))
    reference = weakref.ref(counted)
    del counted
    gc.collect()
    assert reference() is None


def test_an_object_with_methods_is_copied_without_their_programs():
    counted = CountedMethods(1.0)
    counted.step(tf.constant(1.0))
    for other in (copy.deepcopy(counted), pickle.loads(pickle.dumps(counted))):
        other.by.assign(5.0)
        assert float(other.step(tf.constant(1.0))) == 6
    assert float(counted.step(tf.constant(1.0))) == 2


def test_a_copied_function_is_traced_again():
    f = tf.function(abs)
    f(tf.constant(-1.0))
    assert float(copy.deepcopy(f)(tf.constant(-2.0))) == 2


def test_zero_and_minus_zero_are_different_signatures(backend):
    divide = tf.function(lambda by, x: x / by)
    x = tf.constant(1.0)
    assert [float(divide(0.0, x)), float(divide(-0.0, x))] == [math.inf, -math.inf]
    assert [float(divide(0.0, -x)), float(divide(-0.0, -x))] == [-math.inf, math.inf]
    assert math.isnan(float(divide(0.0, 0.0 * x)))


def test_only_the_latest_signatures_are_kept(monkeypatch):
    monkeypatch.setattr(type(tf.function(abs)), "MAX_SIGNATURES", 3)
    f, x = tf.function(lambda n, x: x + n), tf.constant(1.0)
    for n in range(3):
        f(n, x)
    with pytest.warns(RuntimeWarning, match="compiled for 3 signatures; .* tf.constant") as caught:
        f(3, x)
    assert caught[0].filename == __file__
    assert [float(f(n, x)) for n in range(5)] == [1, 2, 3, 4, 5]
    assert len(f._cache) == 3


def test_an_unused_result_does_not_affect_the_gradient():
    f = tf.function(lambda x: (x * 2.0, tf.exp(x * 1000.0), tf.cast(x, tf.int32)))
    x = tf.constant([1.0, 2.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y, overflow, _ = f(x)
    assert tape.gradient(y, x).tolist() == [2, 2]
    assert overflow.tolist() == [math.inf, math.inf]
