"""GradientTape: recording, nesting, persistent tapes, and gradients of tf.functions."""
import numpy as np
import pytest

import tensorbrook as tf

pytestmark = pytest.mark.usefixtures("backend")


def cube(x):
    return x * x * x


def test_gradient_of_a_watched_tensor():
    x = tf.constant([1.0, 2.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(cube(x))
    assert tape.gradient(y, x).tolist() == [3.0, 12.0]


def test_a_constant_that_is_not_watched_has_no_gradient():
    x = tf.constant(2.0)
    with tf.GradientTape() as tape:
        y = x * x
    assert tape.gradient(y, x) is None


def test_unconnected_gradients_are_none_or_zeros():
    x, y = tf.Variable([1.0, 2.0]), tf.Variable(3.0)
    with tf.GradientTape(persistent=True) as tape:
        z = y * y
    assert tape.gradient(z, [x, y])[0] is None
    zero = tape.gradient(z, x, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    assert zero.tolist() == [0.0, 0.0]
    assert tape.gradient(z, x, unconnected_gradients="zero").tolist() == [0.0, 0.0]


def test_structure_of_sources_is_kept():
    w = {"bias": tf.Variable(1.0), "layers": [tf.Variable(2.0), (tf.Variable(3.0),)]}
    with tf.GradientTape() as tape:
        y = w["bias"] * w["layers"][0] * w["layers"][1][0]
    gradients = tape.gradient(y, w)
    assert float(gradients["bias"]) == 6
    assert float(gradients["layers"][0]) == 3 and float(gradients["layers"][1][0]) == 2


def test_gradients_of_several_targets_are_summed_and_weighted():
    x = tf.Variable(3.0)
    with tf.GradientTape(persistent=True) as tape:
        y, z = x * x, 2 * x
    assert float(tape.gradient([y, z], x)) == 8
    weighted = tape.gradient([y, z], x, output_gradients=[tf.constant(10.0), tf.constant(1.0)])
    assert float(weighted) == 62


def test_a_target_that_is_the_source():
    x = tf.constant([1.0, 2.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
    assert tape.gradient(x, x).tolist() == [1.0, 1.0]


def test_gradients_of_repeated_reads_are_summed():
    x = tf.Variable(3.0)
    with tf.GradientTape() as tape:
        y = x * x + tf.sin(x) * 0 + x.value()
    assert float(tape.gradient(y, x)) == 7


def test_only_trainable_variables_are_watched():
    x, y = tf.Variable(2.0), tf.Variable(3.0, trainable=False)
    with tf.GradientTape(persistent=True) as tape:
        z = x * y
    assert float(tape.gradient(z, x)) == 3 and tape.gradient(z, y) is None
    assert tape.watched_variables() == (x,)
    with tf.GradientTape() as tape:
        tape.watch(y)
        z = x * y
    assert float(tape.gradient(z, y)) == 2


def test_watch_accessed_variables():
    x, y = tf.Variable(2.0), tf.Variable(3.0)
    with tf.GradientTape(watch_accessed_variables=False, persistent=True) as tape:
        tape.watch(y)
        z = x * y
    assert tape.gradient(z, x) is None and float(tape.gradient(z, y)) == 2


def test_integers_have_no_gradient():
    x, i = tf.Variable([1.0, 2.0, 3.0]), tf.Variable([2, 0])
    with tf.GradientTape() as tape:
        y = tf.reduce_sum(tf.gather(x, i) * tf.cast(i, tf.float32))
    dx, di = tape.gradient(y, [x, i])
    assert dx.tolist() == [0.0, 0.0, 2.0] and di is None


def test_a_persistent_tape_can_be_used_repeatedly():
    x = tf.Variable(2.0)
    with tf.GradientTape(persistent=True) as tape:
        y = x * x
        z = y * x
    assert float(tape.gradient(y, x)) == 4 and float(tape.gradient(z, x)) == 12
    assert float(tape.gradient(z, y)) == 2


def test_a_tape_is_used_once():
    x = tf.Variable(2.0)
    with tf.GradientTape() as tape:
        y = x * x
    tape.gradient(y, x)
    with pytest.raises(tf.errors.FailedPreconditionError, match=r"persistent=True"):
        tape.gradient(y, x)


def test_stop_recording():
    x = tf.Variable(2.0)
    with tf.GradientTape() as tape:
        y = x * x
        with tape.stop_recording():
            unrecorded = x * x
        z = y + tf.stop_gradient(y) * x + unrecorded
    assert float(tape.gradient(z, x)) == 8


def test_stop_recording_twice_in_sequence():
    x = tf.Variable(3.0)
    with tf.GradientTape() as tape:
        y = x * x
        for _ in range(2):
            with tape.stop_recording():
                _ = y * x
        z = y * x
    assert float(tape.gradient(z, x)) == 27


def test_stop_recording_after_an_error_within_it():
    x = tf.Variable(3.0)
    with tf.GradientTape() as tape:
        with pytest.raises(ZeroDivisionError), tape.stop_recording():
            _ = 1 / 0
        y = x * x
        with tape.stop_recording():
            _ = y * y
    assert float(tape.gradient(y, x)) == 6


def test_only_a_recording_tape_can_pause_or_reset():
    """The classes of the errors are TensorFlow's: ValueError, or RuntimeError without a record."""
    x, tape = tf.Variable(2.0), tf.GradientTape()
    with pytest.raises(tf.errors.FailedPreconditionError, match="stop_recording: the tape is not"):
        with tape.stop_recording():
            pass
    with pytest.raises(tf.errors.InvalidArgumentError, match="reset: the tape is not recording"):
        tape.reset()
    with tape:
        y = x * x
        with tape.stop_recording():
            with pytest.raises(tf.errors.InvalidArgumentError, match="stop_recording: the tape"):
                with tape.stop_recording():
                    pass
            with pytest.raises(tf.errors.InvalidArgumentError, match="reset: the tape"):
                tape.reset()
        z = y * x
    with pytest.raises(tf.errors.InvalidArgumentError, match="stop_recording: the tape is not"):
        with tape.stop_recording():
            pass
    assert float(tape.gradient(z, x)) == 12, "the errors left the record intact"
    with pytest.raises(tf.errors.FailedPreconditionError, match="before the gradient of a tape"):
        with tape.stop_recording():
            pass


def test_stop_recording_while_a_function_is_traced():
    x = tf.Variable(2.0)
    with tf.GradientTape() as tape:
        @tf.function
        def cube(x):
            with tape.stop_recording():
                return x * x * x
        y = cube(x)
    assert float(y) == 8 and float(tape.gradient(y, x)) == 12


def test_a_persistent_tape_can_be_entered_again():
    x = tf.Variable(3.0)
    with tf.GradientTape(persistent=True) as tape:
        y = x * x
    with tape:
        z = y * x
    assert float(tape.gradient(z, x)) == 27


def test_reset():
    x = tf.Variable(2.0)
    with tf.GradientTape(persistent=True) as tape:
        y = x * x
        tape.reset()
        z = x * 3
    assert tape.gradient(y, x) is None and float(tape.gradient(z, x)) == 3


def test_nested_tapes_give_higher_derivatives():
    x = tf.Variable(2.0)
    with tf.GradientTape() as third:
        with tf.GradientTape() as second:
            with tf.GradientTape() as first:
                y = x * x * x * x
            dy = first.gradient(y, x)
        ddy = second.gradient(dy, x)
    assert [float(dy), float(ddy), float(third.gradient(ddy, x))] == [32, 48, 48]


def test_a_persistent_tape_records_its_own_gradient():
    x = tf.Variable(3.0)
    with tf.GradientTape(persistent=True) as tape:
        y = cube(x)
        dy = tape.gradient(y, x)
    assert float(tape.gradient(dy, x)) == 18


def test_jacobian():
    x, w = tf.constant([1.0, 2.0, 3.0]), tf.constant([[1.0, 0.5, 2.0], [3.0, 1.0, 0.0]])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = tf.reshape(tf.matmul(w, tf.reshape(x * x, (3, 1))), (2,))
    expected = 2 * np.asarray(w) * np.asarray(x)
    np.testing.assert_allclose(np.asarray(tape.jacobian(y, x)), expected, rtol=1e-6)


def test_ties_at_a_maximum_share_the_gradient():
    x = tf.constant([1.0, 5.0, 5.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_max(x)
    assert tape.gradient(y, x).tolist() == [0.0, 0.5, 0.5]


# ── tapes and functions ──


def test_gradient_of_a_function_call():
    w = tf.Variable([[1.0, 2.0], [3.0, 4.0]])
    f = tf.function(lambda x: tf.reduce_sum(tf.matmul(x, w) ** 2))
    x = tf.constant([[1.0, -1.0]])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = f(x)
    dx, dw = tape.gradient(y, [x, w])
    np.testing.assert_allclose(np.asarray(dx), [[-12, -28]])
    np.testing.assert_allclose(np.asarray(dw), [[-4, -4], [4, 4]])


def test_second_derivative_through_a_function_call():
    f = tf.function(lambda x: tf.reduce_sum(cube(x)))
    x = tf.constant([1.0, 2.0])
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = f(x)
        g = inner.gradient(y, x)
    assert outer.gradient(g, x).tolist() == [6.0, 12.0]


def test_tape_within_a_function():
    w = tf.Variable([1.0, 2.0])

    @tf.function
    def gradient(x):
        with tf.GradientTape() as tape:
            y = tf.reduce_sum(w * w * x)
        return tape.gradient(y, w)

    assert gradient(tf.constant(3.0)).tolist() == [6.0, 12.0]


def test_gradient_in_a_function_through_a_nested_call():
    inner = tf.function(lambda x: cube(x))

    @tf.function
    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = inner(x) * 2
        return tape.gradient(y, x)

    assert float(gradient(tf.constant(2.0))) == 24


def test_a_function_under_a_tape_that_updates_variables_runs_once():
    w, count = tf.Variable(2.0), tf.Variable(0, trainable=False)

    @tf.function
    def f(x):
        count.assign_add(1)
        out = w * x
        w.assign(w + 1)
        return out * w

    with tf.GradientTape() as tape:
        y = f(tf.constant(5.0))
    assert float(y) == 30 and int(count) == 1 and float(w) == 3
    assert float(tape.gradient(y, w)) == 25                        # y = 5 w (w + 1), at w = 2
    assert int(count) == 1 and float(w) == 3


def test_tracing_a_function_is_not_recorded_by_an_open_tape():
    w = tf.Variable(2.0)
    f = tf.function(lambda x: w * x + w)
    with tf.GradientTape() as tape:
        y = f(tf.constant(5.0))
    assert len(tape._entries) == 1, "a call is one entry, also when it traces"
    assert float(tape.gradient(y, w)) == 6


def test_gradient_of_a_function_with_nondifferentiable_results():
    f = tf.function(lambda x: {"argmin": tf.argmin(x), "sum": tf.reduce_sum(x * x), "name": "f"})
    x = tf.Variable([3.0, 1.0])
    with tf.GradientTape() as tape:
        out = f(x)
    assert int(out["argmin"]) == 1 and out["name"] == "f"
    assert tape.gradient(out["sum"], x).tolist() == [6.0, 2.0]


# ── errors ──


def test_errors_have_hints():
    with pytest.raises(tf.errors.InvalidArgumentError, match="watch: 3 is not a tensor"):
        tf.GradientTape().watch(3)
    with tf.GradientTape() as tape:
        x = tf.Variable([1, 2])
        y = x * x
    with pytest.raises(tf.errors.InvalidArgumentError, match="gradient: the target is int32"):
        tape.gradient(y, x)
    with pytest.raises(tf.errors.InvalidArgumentError, match="already recording"):
        with tape, tape:
            pass


def test_output_gradients_must_fit_their_targets():
    x = tf.constant([1.0, 2.0])
    for cotangents, message in (([tf.ones(2)], "are 1 output_gradients for 2 targets"),
                                ([tf.ones((3, 2)), None],
                                 r"float32\[3,2\] does not match target float32\[2\]"),
                                ([tf.ones(2, tf.int32), None], r"int32\[2\] does not match")):
        with tf.GradientTape() as tape:
            tape.watch(x)
            targets = [x * 2.0, tf.tanh(x)]
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            tape.gradient(targets, x, cotangents)
