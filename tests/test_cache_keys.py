"""Cache keys: values that compare equal but differ as floats have separate programs, and NaN hits.

0.0 == -0.0 and 1 == True == 1.0 in Python, and NaN is not equal to itself, so a key of plain values
confuses the first two classes and never finds the third.
"""

import dataclasses
import inspect
import struct
from math import copysign, inf, isnan, nan

import pytest

import backends
import tensorbrook as tf
from tensorbrook.compiler import optimize
from tensorbrook.eager import EAGER
from tensorbrook.ir import PRIMITIVES, digest
from tensorbrook.base.value_keys import attributes_key, value_key
from tensorbrook.tensor import bind

VALUES = [0.0, -0.0, 1.0, -1.0, nan, inf, -inf, 5e-45, 0.1]
# The primitives with a float attribute, and the names of all other attributes.
FLOAT_ATTRIBUTES = {("pad", "fill"), ("attention", "scale"), ("attention_grad", "scale")}
OTHER_ATTRIBUTES = {
    "shape", "axis", "axes", "perm", "begin", "steps", "exclusive", "reverse", "descending",
    "transpose_a", "transpose_b", "digit", "chunks", "rows", "k", "causal", "body", "carries", "xs",
    "length", "dtype", "rounded", "window", "strides", "padding", "dilations", "groups", "counts"}


@pytest.fixture(autouse=True, params=backends.ALL)
def backend(request):
    with backends.on(request.param):
        yield request.param


def bits(tensor) -> bytes:
    """The bytes of a float32 tensor, with one representation of NaN."""
    flat = tf.reshape(tensor, (-1,)).tolist()
    return b"".join(b"nan " if isnan(x) else struct.pack("<f", x) for x in flat)


def pad(fill):
    return bind("pad", tf.constant([1.0, 2.0]), begin=(1,), shape=(4,), steps=(1,), fill=fill)


def pad_strided(fill):
    return tf.pad(tf.constant([[1.0, 2.0]]), [[0, 1], [2, 0]], constant_values=fill)


def attention(scale):
    q = tf.constant([[[[1.0, 2.0]], [[0.5, -1.0]]]])
    return bind("attention", q, q, q, scale=scale, causal=False)[0]


FINITE = [v for v in VALUES if abs(v) <= 1.0]         # a scale of attention is finite
CASES = [(operation, VALUES) for operation in (pad, pad_strided)] + [(attention, FINITE)]
PAIRS = [(operation, a, b) for operation, values in CASES for a in values for b in values]
SINGLE = [(operation, value) for operation, values in CASES for value in values]


def name(value) -> str:
    return value.__name__ if callable(value) else str(value)


def compiled() -> int:
    return EAGER.backend.counters()["compiled"]


def test_every_float_attribute_has_a_case():
    names = {(prim.name, name) for prim in PRIMITIVES.values()
             for name, parameter in inspect.signature(prim.spec).parameters.items()
             if parameter.kind is parameter.KEYWORD_ONLY or parameter.default is not inspect._empty
             or name in ("fill", "scale")}
    unclassified = {name for _, name in names} - OTHER_ATTRIBUTES - {"fill", "scale"}
    assert not unclassified, "add the attributes to the tables of this file"
    assert {pair for pair in names if pair[1] in ("fill", "scale")} <= FLOAT_ATTRIBUTES


@pytest.mark.slow
@pytest.mark.parametrize("operation, first, second", PAIRS, ids=name)
def test_eager_operations_with_different_attributes_are_separate(operation, first, second):
    """Each result is that of the operation as the only one, in a program of its own."""
    EAGER.chain.programs.clear()
    expected = bits(operation(second))
    EAGER.chain.programs.clear()
    operation(first)
    assert bits(operation(second)) == expected


@pytest.mark.parametrize("operation, value", SINGLE, ids=name)
def test_an_eager_operation_with_the_same_attribute_is_compiled_once(operation, value):
    operation(value)
    before = compiled()
    operation(struct.unpack("<d", struct.pack("<d", value))[0])       # an equal but separate float
    assert compiled() == before


@pytest.mark.parametrize("value", [0.0, -0.0])
def test_the_sign_of_a_zero_attribute_is_exact(value):
    padded = pad_strided(-value), pad_strided(value)
    signs = [copysign(1.0, out.tolist()[1][0]) for out in padded]
    assert signs == [copysign(1.0, -value), copysign(1.0, value)]


def test_equal_attributes_of_different_types_give_the_same_result():
    for one in (1, True, 1.0):
        EAGER.chain.programs.clear()
        for other in (1.0, True, 1, one):
            assert pad(other).tolist() == [1.0, 1.0, 2.0, 1.0]


@pytest.mark.parametrize("operation, floats", CASES, ids=name)
def test_one_trace_keeps_different_attributes_apart(operation, floats):
    """Common subexpression elimination merges equations whose attributes are the same floats."""
    expected = []
    for value in floats:
        EAGER.chain.programs.clear()
        expected.append(bits(operation(value)))
    for values, results in ((floats, expected), (floats[::-1], expected[::-1])):
        outs = tf.function(lambda values=values: [operation(v) for v in values])()
        assert [bits(out) for out in outs] == results


def test_one_trace_merges_equal_attributes():
    def graph(*fills):
        function = tf.function(lambda x: [bind("pad", x, begin=(1,), shape=(4,), steps=(1,), fill=f)
                                          for f in fills])
        return optimize(function.get_concrete_function(tf.ones(2)).graph)

    for value in VALUES:
        assert len(graph(value, float(repr(value))).eqns) == 1
    assert len(graph(0.0, -0.0).eqns) == 2


def test_digests_of_graphs_with_different_attributes_differ():
    digests = [digest(optimize(tf.function(lambda v=v: pad_strided(v)).get_concrete_function()
                               .graph)) for v in VALUES]
    again = [digest(optimize(tf.function(lambda v=v: pad_strided(v)).get_concrete_function()
                             .graph)) for v in VALUES]
    assert len(set(digests)) == len(VALUES) and digests == again


# ── signatures of tf.function ──


@dataclasses.dataclass(frozen=True)
class Options:
    value: float


# How an argument contains a number.
CONTAINERS = {
    "itself": lambda v: v,
    "a list": lambda v: [v, 2],
    "a dict": lambda v: {"a": {"b": v}},
    "a dict key": lambda v: {v: 1},
    "a frozenset": lambda v: frozenset([v]),
    "a frozen dataclass": Options,
    "a complex number": lambda v: complex(0.0, v) if isinstance(v, float) else (v, "not complex"),
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_signatures_distinguish_floats_that_compare_equal(container):
    traced, wrap = [], CONTAINERS[container]

    @tf.function
    def function(x, argument):
        traced.append(repr(argument))
        return x

    x = tf.ones(2)
    arguments = [wrap(v) for v in (0.0, -0.0, 1.0, 1, True, nan)]
    for argument in (*arguments, *arguments):
        function(x, argument)
    assert traced == [repr(argument) for argument in arguments]


def test_signatures_find_another_nan():
    traced = []
    function = tf.function(lambda x, v: traced.append(v) or x)
    for _ in range(3):
        function(tf.ones(2), float("nan"))
    assert len(traced) == 1


# ── keys of values ──


def test_keys_are_equal_exactly_for_the_same_bits_and_types():
    values = [0, 0.0, -0.0, False, 1, 1.0, True, nan, inf, "1", (0.0, nan), (-0.0, nan), (0, nan)]
    for i, a in enumerate(values):
        for j, b in enumerate(values):
            assert (value_key(a) == value_key(b)) == (i == j), (a, b)
    assert attributes_key({"a": float("nan")}) == attributes_key({"a": float("nan")})
    assert attributes_key({"a": 1, "b": 2}) != attributes_key({"a": 2, "b": 1})
