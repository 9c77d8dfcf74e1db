"""Random numbers: known answers, the same stream on every backend, and distributions."""
import functools
import math

import numpy as np
import pytest
import tensorbrook as tf
from backends import ALL, on
from tensorbrook.ops import kernel_primitives
from tensorbrook.ops.random import Generator
from numpy_jax_oracles import philox_block

# philox4x32-10 in tests/kat_vectors of Random123 (github.com/DEShawResearch/random123). The counter
# of the engine has 64 bits, so the engine can produce only the first answer. The others test
# `philox_block`, which is the reference for all other values of the engine.
KNOWN_ANSWERS = [
    ([0] * 4, [0] * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ([0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], [0xA4093822, 0x299F31D0],
     "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def hex_words(words) -> str:
    return " ".join(f"{n % 2**32:08x}" for n in words)


def signed(word: int) -> int:
    return word - 2**32 if word >= 2**31 else word


def bits(key: int, counter: int, count: int):
    state = [key % 2**32, key >> 32, counter % 2**32, counter >> 32]
    state = tf.constant(list(map(signed, state)))
    return kernel_primitives.random_bits(state, shape=(count,)).tolist()


@pytest.mark.parametrize("counter, key, answer", KNOWN_ANSWERS)
def test_known_answers_of_the_reference(counter, key, answer):
    assert hex_words(philox_block(counter, *key)) == answer


def test_known_answer_of_random_bits(backend):
    assert hex_words(bits(0, 0, 4)) == KNOWN_ANSWERS[0][2]


@pytest.mark.parametrize("key, counter, count", [
    (0x299F31D0A4093822, 0x85A308D3243F6A88, 9), (2**64 - 1, 2**64 - 1, 12), (1, 2**32 - 2, 17),
    (2**63, 5, 1), (7, 0, 1025)])
def test_random_bits_agree_with_the_reference(key, counter, count, backend):
    """The counter carries from the low to the high word, and wraps to 0."""
    expected = []
    for j in range(-(-count // 4)):
        block = (counter + j) % 2**64
        expected += philox_block([block % 2**32, block >> 32, 0, 0], key % 2**32, key >> 32)
    assert hex_words(bits(key, counter, count)) == hex_words(expected[:count])


# ── streams ──


@functools.cache
def stream(name: str) -> list:
    with on(name):
        tf.random.set_seed(1234)
        draws = [tf.random.uniform((3, 5)), tf.random.normal((7,)), tf.random.uniform((), 2, 5),
                 tf.random.uniform((9,), -3, 4, tf.int32), tf.random.truncated_normal((6,))]
        return [np.asarray(x) for x in draws]


def test_every_backend_has_the_same_stream():
    for x, y in zip(stream(ALL[0]), stream(ALL[1])):
        assert x.dtype == y.dtype
        np.testing.assert_allclose(x, y, rtol=2e-6, atol=2e-6)
    assert (stream(ALL[0])[0] == stream(ALL[1])[0]).all(), "uniform numbers are bit-exact"


def test_a_seed_restarts_the_stream(backend):
    tf.random.set_seed(5)
    first, second = tf.random.uniform((4,)).tolist(), tf.random.uniform((4,)).tolist()
    assert first != second
    tf.random.set_seed(5)
    assert tf.random.uniform((4,)).tolist() == first
    tf.random.set_seed(6)
    assert tf.random.uniform((4,)).tolist() != first


def test_draws_do_not_overlap(backend):
    tf.random.set_seed(0)
    values = [x for n in (1, 3, 4, 5, 8, 1) for x in tf.random.uniform((n,)).tolist()]
    assert len(set(values)) == len(values)


def test_seeds_of_64_bits(backend):
    draws = []
    for seed in (1, 2**32 + 1, 2**40, 2**63):
        tf.random.set_seed(seed)
        draws.append(tuple(tf.random.uniform((4,)).tolist()))
    assert len(set(draws)) == 4


def test_generators_are_separate_streams(backend):
    tf.random.set_seed(7)
    same_seed, other_seed = Generator.from_seed(7), Generator.from_seed(8)
    expected = tf.random.uniform((4,)).tolist()
    assert other_seed.uniform((4,)).tolist() != expected
    assert same_seed.uniform((4,)).tolist() == expected


# ── tf.function ──


def test_a_function_draws_new_numbers_in_every_call(backend):
    f = tf.function(lambda: (tf.random.uniform((4,)), tf.random.uniform((4,))))
    tf.random.set_seed(3)
    compiled = [x.tolist() for _ in range(3) for x in f()]
    tf.random.set_seed(3)
    eager = [tf.random.uniform((4,)).tolist() for _ in range(6)]
    assert compiled == eager and len(set(map(tuple, compiled))) == 6


def test_the_gradient_uses_the_random_numbers_of_the_forward_pass(backend):
    x = tf.Variable(np.ones(16, "float32"))
    f = tf.function(lambda: tf.nn.dropout(x, 0.5))
    tf.random.set_seed(0)
    with tf.GradientTape() as tape:
        y = f()
    assert y.tolist() == tape.gradient(y, x).tolist()
    assert set(y.tolist()) == {0.0, 2.0}


# ── distributions ──

SAMPLES = 40_000


def within(value: float, expected: float, deviation: float) -> bool:
    """Whether the mean of SAMPLES numbers is within five standard errors of its expected value."""
    return abs(value - expected) < 5 * deviation / math.sqrt(SAMPLES)


def draw(f, **options) -> np.ndarray:
    tf.random.set_seed(11)
    return np.asarray(f((SAMPLES,), **options), "float64")


def test_uniform(backend):
    x = draw(tf.random.uniform, minval=-1.0, maxval=3.0)
    assert x.min() >= -1 and x.max() < 3
    assert within(x.mean(), 1, 4 / math.sqrt(12)) and within((x**2).mean(), 7 / 3, 3)
    counts = np.histogram(x, 50)[0]
    assert np.abs(counts - SAMPLES / 50).max() < 5 * math.sqrt(SAMPLES / 50)


def test_unit_interval_is_half_open(backend):
    x = draw(tf.random.uniform)
    assert 0 <= x.min() and x.max() < 1
    assert (x * 2**24 == np.floor(x * 2**24)).all(), "exact multiples of 2**-24"


def test_uniform_int32(backend):
    x = draw(tf.random.uniform, minval=-2, maxval=5, dtype=tf.int32)
    assert sorted(set(x)) == list(range(-2, 5))
    counts = np.bincount((x + 2).astype(int))
    assert np.abs(counts - SAMPLES / 7).max() < 5 * math.sqrt(SAMPLES / 7)


def test_normal(backend):
    x = draw(tf.random.normal, mean=2.0, stddev=3.0)
    assert np.isfinite(x).all()
    z = (x - 2) / 3
    assert within(z.mean(), 0, 1) and within((z**2).mean(), 1, math.sqrt(2))
    assert within((z**3).mean(), 0, math.sqrt(15)) and within((z**4).mean(), 3, math.sqrt(96))
    phi = [0.5 * (1 + math.erf(v / math.sqrt(2))) for v in sorted(z)]
    distance = np.abs(np.array(phi) - (np.arange(SAMPLES) + 0.5) / SAMPLES).max()
    assert distance < 1.95 / math.sqrt(SAMPLES), "Kolmogorov-Smirnov distance, at the 0.1 % level"


def test_truncated_normal(backend):
    x = draw(tf.random.truncated_normal)
    assert np.abs(x).max() <= 2.001
    assert within(x.mean(), 0, 0.88) and within((x**2).mean(), 0.7737, 0.85)


def test_dropout_keeps_the_mean(backend):
    tf.random.set_seed(2)
    x = np.asarray(tf.nn.dropout(tf.ones(SAMPLES), 0.3))
    assert within(float((x == 0).mean()), 0.3, math.sqrt(0.21))
    assert set(np.unique(x)) == {np.float32(0), np.float32(1 / 0.7)}


def test_bounds_may_be_tensors_and_traced():
    means = tf.constant([0.0, 100.0])
    tf.random.set_seed(3)
    standard = tf.random.normal((2,)).tolist()
    tf.random.set_seed(3)
    assert tf.random.normal((2,), means).tolist() == pytest.approx(
        [standard[0], standard[1] + 100], 1e-6)
    x = tf.function(lambda maxval: tf.random.uniform((100,), 0.0, maxval))(tf.constant(1e-3))
    assert 0 < max(x.tolist()) < 1e-3
