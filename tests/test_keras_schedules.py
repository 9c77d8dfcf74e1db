"""Learning rate schedules: values, use in compiled steps, and errors."""

from math import cos, pi

import numpy as np
import pytest

import tensorbrook as tf
from assertions import assert_raises_message
from tensorbrook.keras import optimizers
from tensorbrook.keras.optimizers import schedules

pytestmark = pytest.mark.usefixtures("fresh_session")


def half_cosine(fraction, alpha=0.0):
    return (1 - alpha) * 0.5 * (1 + cos(pi * fraction)) + alpha


def cosine_with_warmup(n):
    return 0.01 + (0.5 - 0.01) * n / 10 if n < 10 else 0.5 * half_cosine(min(n - 10, 50) / 50, 0.1)


def cosine_with_restarts(n):
    begin, length, height = 0, 10, 1.0
    while n >= begin + length:
        begin, length, height = begin + length, 2 * length, height * 0.5
    return 0.1 * height * half_cosine((n - begin) / length)


SCHEDULES = [
    (lambda: schedules.ExponentialDecay(0.1, 20, 0.5), lambda n: 0.1 * 0.5 ** (n / 20)),
    (lambda: schedules.ExponentialDecay(0.1, 20, 0.5, staircase=True),
     lambda n: 0.1 * 0.5 ** (n // 20)),
    (lambda: schedules.InverseTimeDecay(0.1, 20, 0.5), lambda n: 0.1 / (1 + 0.5 * n / 20)),
    (lambda: schedules.InverseTimeDecay(0.1, 20, 0.5, True), lambda n: 0.1 / (1 + 0.5 * (n // 20))),
    (lambda: schedules.PiecewiseConstantDecay([7, 30], [1.0, 0.5, 0.1]),
     lambda n: 1.0 if n <= 7 else 0.5 if n <= 30 else 0.1),
    (lambda: schedules.PolynomialDecay(0.1, 40, 0.01, power=2.0),
     lambda n: 0.09 * (1 - min(n, 40) / 40) ** 2 + 0.01),
    (lambda: schedules.PolynomialDecay(0.1, 15, 0.01, cycle=True),
     lambda n: 0.09 * (1 - n / (15 * max(-(-n // 15), 1))) + 0.01),
    (lambda: schedules.CosineDecay(0.1, 50), lambda n: 0.1 * half_cosine(min(n, 50) / 50)),
    (lambda: schedules.CosineDecay(0.01, 50, 0.1, warmup_target=0.5, warmup_steps=10),
     cosine_with_warmup),
    (lambda: schedules.CosineDecay(0.1, 50, warmup_target=0.2),
     lambda n: 0.2 * half_cosine(min(n, 50) / 50)),
    (lambda: schedules.CosineDecayRestarts(0.1, 10, m_mul=0.5), cosine_with_restarts),
    (lambda: schedules.CosineDecayRestarts(0.1, 10, t_mul=1.0),
     lambda n: 0.1 * half_cosine(n % 10 / 10)),
]


@pytest.mark.parametrize("make, reference", SCHEDULES)
def test_schedules(make, reference):
    schedule = make()
    for n in (0, 1, 6, 7, 8, 19, 20, 31, 49, 51, 69, 90):
        for step in (n, tf.constant(n)):
            assert float(schedule(step)) == pytest.approx(reference(n), rel=1e-4, abs=1e-6), n
    other = type(schedule).from_config(schedule.get_config())
    assert other.get_config() == schedule.get_config()


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "function"])
def test_an_optimizer_follows_its_schedule(compiled):
    optimizer = optimizers.SGD(schedules.ExponentialDecay(1.0, 1, 0.5))
    w = tf.Variable([10.0])

    def step():
        optimizer.apply_gradients([(tf.constant([1.0]), w)])
        return optimizer.learning_rate

    run = tf.function(step) if compiled else step
    assert [float(run()) for _ in range(3)] == [0.5, 0.25, 0.125]     # for the next step
    assert w.tolist() == [10.0 - 1.75]
    assert [v.name for v in optimizer.variables] == ["iteration"]
    assert float(type(optimizer).from_config(optimizer.get_config()).learning_rate) == 1.0


def test_fit_follows_a_schedule():
    model = tf.keras.Sequential([tf.keras.Input((1,)), tf.keras.layers.Dense(1, use_bias=False)])
    rate = schedules.PiecewiseConstantDecay([1], [0.0, 0.5])
    model.compile(optimizers.SGD(rate), "mse")
    model.set_weights([np.zeros((1, 1))])
    x, y = np.ones((8, 1), "float32"), np.ones((8, 1), "float32")
    model.fit(x, y, batch_size=4, epochs=1, verbose=0)
    assert model.get_weights()[0].item() == 0.0         # in steps 0 and 1 the rate is 0
    model.fit(x, y, batch_size=4, epochs=1, verbose=0)
    assert model.get_weights()[0].item() == pytest.approx(1.0)


def test_exclude_from_weight_decay():
    first, second = tf.Variable([1.0], name="kernel"), tf.Variable([1.0], name="bias")
    third, g = tf.Variable([1.0], name="gamma"), tf.constant([0.0])
    optimizer = optimizers.AdamW(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay([third], var_names=["bias"])
    optimizer.apply_gradients([(g, v) for v in (first, second, third)])
    assert [float(v) for v in (first, second, third)] == pytest.approx([0.95, 1.0, 1.0])
    with pytest.raises(tf.errors.FailedPreconditionError,
                       match="call exclude_from_weight_decay before"):
        optimizer.exclude_from_weight_decay([first])


ERRORS = [
    (lambda: schedules.CosineDecay(0.1, 0),
     "CosineDecay: decay_steps is 0; it must be a positive number"),
    (lambda: schedules.ExponentialDecay("fast", 3, 0.5),
     "ExponentialDecay: initial_learning_rate is 'fast'; it must be a number"),
    (lambda: schedules.PiecewiseConstantDecay([3, 2], [1, 2, 3]),
     "PiecewiseConstantDecay: boundaries are [3, 2] and values [1, 2, 3]; pass increasing "
     "boundaries"),
    (lambda: optimizers.SGD({"class_name": "CosineDecai", "config": {}}),
     "learning_rate: unknown schedule 'CosineDecai'; did you mean 'CosineDecay'?"),
]


@pytest.mark.parametrize("call, message", ERRORS)
def test_errors(call, message):
    assert_raises_message(call, message)


def test_the_learning_rate_of_a_schedule_cannot_be_set():
    optimizer = optimizers.SGD(schedules.CosineDecay(0.1, 9))
    with pytest.raises(tf.errors.FailedPreconditionError) as caught:
        optimizer.learning_rate = 0.5
    assert str(caught.value) == "sgd: its learning rate <CosineDecay> cannot be replaced by " \
        "0.5, because compiled steps contain it; create a new optimizer"
    constant = optimizers.SGD(0.1)
    with pytest.raises(tf.errors.FailedPreconditionError):
        constant.learning_rate = schedules.CosineDecay(0.1, 9)
