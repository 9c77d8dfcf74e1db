"""Cache keys: attribute values and constants that are equal but differ in bits, and NaN."""
import struct
from math import inf, nan

import pytest

import tensorbrook as tf
from backends import ALL, on
from tensorbrook.eager import EAGER
from tensorbrook.ir.attributes import attributes_key, value_key

VALUES = (0.0, -0.0, 1.0, nan, inf, -inf, 5e-324)


@pytest.fixture(params=ALL)
def backend(request):
    with on(request.param):
        yield


def bits(x: float) -> bytes:
    return struct.pack("<f", x)


def pad(x, value):
    return tf.pad(x, [[1, 1]], constant_values=value)


def padding_of(y) -> bytes:
    return bits(y.numpy()[0])


def test_eager_programs_distinguish_attributes_by_bits(backend):
    x = tf.constant([3.0, 4.0])
    for value in (*VALUES, *reversed(VALUES)):
        assert padding_of(pad(x, value)) == bits(value), value


def test_functions_distinguish_static_arguments_by_bits(backend):
    f, x = tf.function(pad), tf.constant([3.0, 4.0])
    for value in (*VALUES, *reversed(VALUES)):
        assert padding_of(f(x, value)) == bits(value), value


def test_common_subexpressions_are_equal_by_bits(backend):
    @tf.function
    def f(x):
        return [pad(x, value) for value in (*VALUES, *VALUES)]

    assert [padding_of(y) for y in f(tf.constant([3.0]))] == [*map(bits, (*VALUES, *VALUES))]


@pytest.mark.parametrize("value", VALUES)
def test_each_value_hits_the_cache(value):
    x = tf.constant([3.0, 4.0])
    pad(x, value)
    programs = len(EAGER.chain.programs)
    f = tf.function(pad)
    f(x, value)
    for _ in range(3):
        pad(x, value)
        f(x, value)
    assert len(EAGER.chain.programs) == programs
    assert len(f._cache) == 1


def test_keys_are_equal_exactly_for_the_same_bits_and_types():
    values = [0, 0.0, -0.0, False, 1, 1.0, True, nan, inf, "1", (0.0, nan), (-0.0, nan), (0, nan)]
    for i, a in enumerate(values):
        for j, b in enumerate(values):
            assert (value_key(a) == value_key(b)) == (i == j), (a, b)
    assert attributes_key({"a": float("nan")}) == attributes_key({"a": float("nan")})
    assert attributes_key({"a": 1, "b": 2}) != attributes_key({"a": 2, "b": 1})
