"""Random numbers: known answers, one stream for every backend, and the distributions' moments."""
import functools
import math

import numpy as np
import pytest
import tensorbrook as tf
from backends import ALL, on
from tensorbrook.ops import kernel_primitives
from tensorbrook.ops.random import Generator
from numpy_jax_oracles import block

# philox4x32-10 in Random123's tests/kat_vectors (github.com/DEShawResearch/random123). Our counter
# is 64 bits wide, its upper half always 0, so the engine itself can reach the first alone;
# the others check the independent form below it, which then checks the engine everywhere else.
KNOWN = [
    ([0] * 4, [0] * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ([0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], [0xA4093822, 0x299F31D0],
     "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(numbers) -> str:
    return " ".join(f"{n % 2**32:08x}" for n in numbers)


def signed(word: int) -> int:
    return word - 2**32 if word >= 2**31 else word


def bits(key: int, counter: int, count: int):
    state = [key % 2**32, key >> 32, counter % 2**32, counter >> 32]
    return kernel_primitives.random_bits(tf.constant(list(map(signed, state))), shape=(count,)).tolist()


@pytest.mark.parametrize("counter, key, answer", KNOWN)
def test_known_answers_of_the_independent_form(counter, key, answer):
    assert words(block(counter, *key)) == answer


def test_known_answer(backend):
    assert words(bits(0, 0, 4)) == KNOWN[0][2]


@pytest.mark.parametrize("key, counter, count", [
    (0x299F31D0A4093822, 0x85A308D3243F6A88, 9), (2**64 - 1, 2**64 - 1, 12), (1, 2**32 - 2, 17),
    (2**63, 5, 1), (7, 0, 1025)])
def test_bits_everywhere(key, counter, count, backend):
    """Counters run over from the low word to the high one, and from the end to 0."""
    expected = []
    for j in range(-(-count // 4)):
        now = (counter + j) % 2**64
        expected += block([now % 2**32, now >> 32, 0, 0], key % 2**32, key >> 32)
    assert words(bits(key, counter, count)) == words(expected[:count])


# ── one stream ──


@functools.cache
def stream(name: str) -> list:
    with on(name):
        tf.random.set_seed(1234)
        draws = [tf.random.uniform((3, 5)), tf.random.normal((7,)), tf.random.uniform((), 2, 5),
                 tf.random.uniform((9,), -3, 4, tf.int32), tf.random.truncated_normal((6,))]
        return [np.asarray(x) for x in draws]


def test_the_same_numbers_on_every_backend():
    for ours, theirs in zip(stream(ALL[0]), stream(ALL[1])):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=2e-6, atol=2e-6)
    assert (stream(ALL[0])[0] == stream(ALL[1])[0]).all(), "uniform numbers are equal to the bit"


def test_a_seed_starts_the_stream_anew(backend):
    tf.random.set_seed(5)
    first, second = tf.random.uniform((4,)).tolist(), tf.random.uniform((4,)).tolist()
    assert first != second
    tf.random.set_seed(5)
    assert tf.random.uniform((4,)).tolist() == first
    tf.random.set_seed(6)
    assert tf.random.uniform((4,)).tolist() != first


def test_draws_do_not_overlap(backend):
    tf.random.set_seed(0)
    drawn = [x for n in (1, 3, 4, 5, 8, 1) for x in tf.random.uniform((n,)).tolist()]
    assert len(set(drawn)) == len(drawn)


def test_seeds_of_64_bits(backend):
    draws = []
    for seed in (1, 2**32 + 1, 2**40, 2**63):
        tf.random.set_seed(seed)
        draws.append(tuple(tf.random.uniform((4,)).tolist()))
    assert len(set(draws)) == 4


def test_generators_are_streams_of_their_own(backend):
    tf.random.set_seed(7)
    one, two = Generator.from_seed(7), Generator.from_seed(8)
    expected = tf.random.uniform((4,)).tolist()
    assert two.uniform((4,)).tolist() != expected
    assert one.uniform((4,)).tolist() == expected


# ── in functions ──


def test_a_function_draws_new_numbers_each_call(backend):
    f = tf.function(lambda: (tf.random.uniform((4,)), tf.random.uniform((4,))))
    tf.random.set_seed(3)
    compiled = [x.tolist() for _ in range(3) for x in f()]
    tf.random.set_seed(3)
    eager = [tf.random.uniform((4,)).tolist() for _ in range(6)]
    assert compiled == eager and len(set(map(tuple, compiled))) == 6


def test_the_gradient_uses_the_numbers_of_the_call(backend):
    x = tf.Variable(np.ones(16, "float32"))
    f = tf.function(lambda: tf.nn.dropout(x, 0.5))
    tf.random.set_seed(0)
    with tf.GradientTape() as tape:
        y = f()
    assert y.tolist() == tape.gradient(y, x).tolist()
    assert set(y.tolist()) == {0.0, 2.0}


# ── distributions ──

MANY = 40_000


def within(value: float, expected: float, deviation: float) -> bool:
    """Whether a mean of MANY numbers lies within five of its standard errors."""
    return abs(value - expected) < 5 * deviation / math.sqrt(MANY)


def draw(f, **settings) -> np.ndarray:
    tf.random.set_seed(11)
    return np.asarray(f((MANY,), **settings), "float64")


def test_uniform(backend):
    x = draw(tf.random.uniform, minval=-1.0, maxval=3.0)
    assert x.min() >= -1 and x.max() < 3
    assert within(x.mean(), 1, 4 / math.sqrt(12)) and within((x**2).mean(), 7 / 3, 3)
    counts = np.histogram(x, 50)[0]
    assert np.abs(counts - MANY / 50).max() < 5 * math.sqrt(MANY / 50)


def test_unit_interval_is_half_open(backend):
    x = draw(tf.random.uniform)
    assert 0 <= x.min() and x.max() < 1
    assert (x * 2**24 == np.floor(x * 2**24)).all(), "steps of 2**-24, which float32 holds exactly"


def test_whole_numbers(backend):
    x = draw(tf.random.uniform, minval=-2, maxval=5, dtype=tf.int32)
    assert sorted(set(x)) == list(range(-2, 5))
    counts = np.bincount((x + 2).astype(int))
    assert np.abs(counts - MANY / 7).max() < 5 * math.sqrt(MANY / 7)


def test_normal(backend):
    x = draw(tf.random.normal, mean=2.0, stddev=3.0)
    assert np.isfinite(x).all()
    z = (x - 2) / 3
    assert within(z.mean(), 0, 1) and within((z**2).mean(), 1, math.sqrt(2))
    assert within((z**3).mean(), 0, math.sqrt(15)) and within((z**4).mean(), 3, math.sqrt(96))
    below = sorted(z)
    phi = [0.5 * (1 + math.erf(v / math.sqrt(2))) for v in below]
    distance = np.abs(np.array(phi) - (np.arange(MANY) + 0.5) / MANY).max()
    assert distance < 1.95 / math.sqrt(MANY), "Kolmogorov and Smirnov's distance, at 0.1 %"


def test_truncated_normal(backend):
    x = draw(tf.random.truncated_normal)
    assert np.abs(x).max() <= 2.001
    assert within(x.mean(), 0, 0.88) and within((x**2).mean(), 0.7737, 0.85)


def test_dropout_keeps_the_mean(backend):
    tf.random.set_seed(2)
    x = np.asarray(tf.nn.dropout(tf.ones(MANY), 0.3))
    assert within(float((x == 0).mean()), 0.3, math.sqrt(0.21))
    assert set(np.unique(x)) == {np.float32(0), np.float32(1 / 0.7)}


def test_bounds_may_be_tensors_and_traced():
    means = tf.constant([0.0, 100.0])
    tf.random.set_seed(3)
    plain = tf.random.normal((2,)).tolist()
    tf.random.set_seed(3)
    assert tf.random.normal((2,), means).tolist() == pytest.approx([plain[0], plain[1] + 100], 1e-6)
    below = tf.function(lambda most: tf.random.uniform((100,), 0.0, most))(tf.constant(1e-3))
    assert 0 < max(below.tolist()) < 1e-3
