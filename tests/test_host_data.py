"""Conversion of host data: the number of Python calls does not depend on the number of elements."""

import sys
from array import array

import numpy as np
import pytest

import tensorbrook as tf
from call_counting import count_calls
from tensorbrook.backends.wasm.compiled_program import CompiledProgram
from tensorbrook.base import dtypes, host_array
from tensorbrook.keras import data_conversion
from tensorbrook.keras.batch_iterator import EpochShuffler


def nested(rows, columns, value):
    return [[value] * columns for _ in range(rows)]


class Exporter:
    """A buffer that is no array of NumPy."""

    def __init__(self, values):
        self.values = values

    def __buffer__(self, flags):
        return memoryview(self.values)


SOURCES = {
    "a list of floats": lambda n: [0.5] * n,
    "a list of ints": lambda n: [3] * n,
    "a list of both": lambda n: [0.5, 3] * (n // 2),
    "nested lists": lambda n: nested(4, n // 4, 1.5),
    "nested tuples": lambda n: tuple(map(tuple, nested(4, n // 4, True))),
    "a list of arrays": lambda n: [np.full(n // 4, 2.0, "float32") for _ in range(4)],
    "bytes": lambda n: bytes(n),
    "a memoryview": lambda n: memoryview(array("f", [1.0] * n)).cast("B").cast("f", (4, n // 4)),
    "a strided memoryview": lambda n: memoryview(array("q", range(2 * n)))[::2],
    **{f"an array of {code}": lambda n, code=code: array(code, [1] * n) for code in "bBhHiIlLqQfd"},
    **{f"NumPy {name}": lambda n, name=name: np.ones((4, n // 4), name) for name in (
        "bool", "uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16",
        "float32", "float64")},
    "a transposed array": lambda n: np.arange(n).reshape(4, n // 4).T,
}
if sys.version_info >= (3, 12):
    SOURCES["a buffer"] = lambda n: Exporter(array("q", [1] * n))


@pytest.mark.parametrize("convert", [tf.constant, data_conversion.to_tensor,
                                     lambda value: tf.constant(value, tf.float32)],
                         ids=["constant", "to_tensor", "constant of float32"])
@pytest.mark.parametrize("name", SOURCES)
def test_a_conversion_takes_the_same_number_of_calls_for_any_size(name, convert):
    make = SOURCES[name]
    convert(make(16))
    small, large = (count_calls(convert, make(n)) for n in (400, 4000))
    assert large <= small + 8


@pytest.mark.parametrize("dtype", dtypes.ALL, ids=str)
@pytest.mark.parametrize("name", SOURCES)
def test_a_conversion_gives_the_values_of_numpy(name, dtype):
    source = SOURCES[name](16)
    expected = np.array(source.tolist() if hasattr(source, "tolist") else
                        memoryview(source).tolist() if name in ("bytes", "a buffer") else source)
    if dtype.is_integer and expected.dtype.kind == "f" and isinstance(source, list | tuple):
        with pytest.raises(tf.errors.DTypeError, match="is not an integer"):
            tf.constant(source, dtype)
        return
    out = tf.constant(source, dtype)
    assert out.dtype is dtype and out.shape == expected.shape
    np.testing.assert_array_equal(out.numpy(), expected.astype(dtype.name))


EDGES = {
    "float64": [1e39, -1e39, float("inf"), float("nan"), 1e-46, -0.0, 65519.0, 65520.0, 65505.0],
    "float32": [3e38, float("-inf"), float("nan"), -0.0, 65519.0, 1e-8],
    "int64": [2**53 - 1, -2**31, 2**31 - 1, 65505, 0],
}


@pytest.mark.parametrize("target", [tf.float16, tf.float32, tf.float64, tf.bool])
@pytest.mark.parametrize("source", EDGES)
def test_arrays_and_lists_convert_special_values_alike(source, target):
    values = np.array(EDGES[source], source)
    expected = host_array.from_python(values.tolist(), target)
    for value in (values, memoryview(values), array(values.dtype.char, values.tolist())):
        assert bytes(host_array.from_python(value, target).data) == bytes(expected.data)


@pytest.mark.parametrize("source", ["int64", "float64"])
@pytest.mark.parametrize("bad", [2**31, -2**31 - 1])
def test_an_element_out_of_range_is_an_error(source, bad):
    for value in (np.array([0, bad], source), memoryview(np.array([0, bad], source))):
        with pytest.raises(tf.errors.InvalidArgumentError, match=f"{bad} is out of range"):
            tf.constant(value, tf.int32)
    with pytest.raises(tf.errors.InvalidArgumentError, match="-1 is out of range for uint8"):
        tf.constant(np.array([3, -1], source), tf.uint8)


def test_a_leaf_that_is_not_a_number_is_named():
    for value in (["a"], [[1, 2], [3, None]], [1.0, 2j]):
        with pytest.raises(tf.errors.DTypeError, match="is not a number"):
            tf.constant(value)
        with pytest.raises(tf.errors.DTypeError, match="is not a number"):
            tf.constant(value, tf.bool)
    with pytest.raises(tf.errors.InvalidArgumentError, match="rows differ in shape"):
        tf.constant([[1, 2], [3]])
    with pytest.raises(tf.errors.InvalidArgumentError, match="rows differ in shape"):
        tf.constant([1, [2]])


OPERATIONS = {
    "segment_sum": lambda ids: tf.math.segment_sum(tf.ones(len(ids)), ids),
    "repeat": lambda counts: tf.repeat(tf.ones(len(counts)), counts),
    "sequence_mask": tf.sequence_mask,
    "confusion_matrix": lambda labels: tf.math.confusion_matrix(labels, labels),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_on_host_values_takes_a_bounded_number_of_calls(name):
    function = OPERATIONS[name]
    small, large = (array("i", [2] * n) for n in (400, 4000))
    for values in (small, large):
        function(values)                                   # compiles
    assert count_calls(function, large) <= count_calls(function, small) + 40


# ── shuffling ──


def test_shuffling_takes_the_same_number_of_calls_for_any_size():
    def calls(n):
        shuffler = EpochShuffler(n)
        shuffler.shuffle()                                 # compiles
        return count_calls(shuffler.shuffle)

    assert calls(20000) <= calls(200) + 40


@pytest.mark.parametrize("n", [1, 2, 7, 1000])
def test_a_shuffled_order_is_a_permutation(n):
    tf.random.set_seed(4)
    shuffler, orders = EpochShuffler(n), []
    for _ in range(3):
        shuffler.shuffle()
        orders.append(shuffler.order.tolist())
        assert sorted(orders[-1]) == list(range(n)) and shuffler.order.dtype is tf.int32
    assert n < 1000 or orders[0] != orders[1] != orders[2] != list(range(n))
    tf.random.set_seed(4)
    again = EpochShuffler(n)
    again.shuffle()
    assert again.order.tolist() == orders[0]


def test_each_permutation_is_equally_likely():
    tf.random.set_seed(1)
    shuffler, counts = EpochShuffler(3), {}
    for _ in range(600):
        shuffler.shuffle()
        key = tuple(shuffler.order.tolist())
        counts[key] = counts.get(key, 0) + 1
    assert len(counts) == 6 and all(65 <= n <= 140 for n in counts.values())


# ── compiled programs ──


class CountedBytes(bytes):
    """Bytes that count the bytes that slices and splits of them copy."""

    copied = 0

    def __getitem__(self, key):
        out = bytes.__getitem__(self, key)
        if isinstance(out, int):
            return out
        CountedBytes.copied += len(out)
        return CountedBytes(out)

    def split(self, *args):
        parts = bytes.split(self, *args)
        CountedBytes.copied += sum(map(len, parts))
        return [CountedBytes(part) for part in parts]


def test_a_compiled_program_with_many_constants_is_parsed_in_linear_time():
    program = CompiledProgram(b"\0asm" * 100, tuple(bytes([n % 256]) * 1000 for n in range(500)),
                              1, (4,), {}, 0, 1, False, 0, 0)
    data = CountedBytes(program.to_bytes())
    CountedBytes.copied = 0
    assert CompiledProgram.from_bytes(data) == program
    assert CountedBytes.copied < 3 * len(data)
