"""Op cases: a table with one line per operation, run for every backend, mode and dtype.

    name: Case(function, oracle, shapes, options...)

`function` is called with Tensors. `oracle` is called with a namespace (the names of NumPy and those
of numpy_jax_oracles.py) and then arrays. `shapes` has one tuple of argument shapes for each call.
The name before a slash is the tested primitive or function. Some families have separate files:
op_cases_*.py.

This module does not need NumPy, so that the same table runs in a page.
"""
from itertools import product

import tensorbrook as tf
from op_case import RANK3, MATRIX, UNARY, TERNARY, BINARY, Case, Indices
from op_cases_layers import LAYERS
from op_cases_scan import LOOPS
from op_cases_sort import ORDERS
from op_cases_cumulative import SUMS
from tensorbrook.ops import kernel_primitives as c
from tensorbrook.ops import attention as att
from tensorbrook.ops import math, nn
from tensorbrook.ops import primitives as p

# ── convolutions and pools, by their options ─────────────────────────────────────────────────


def conv(image, filters, **options):
    return Case(lambda x, w: tf.nn.conv2d(x, w, **options),
                lambda np, x, w: np.conv2d(x, w, **options), ((image, filters),))


CONVOLUTIONS = {
    "plain": ((2, 6, 5, 3), (3, 2, 3, 4), {}),
    "same": ((2, 5, 6, 2), (3, 3, 2, 3), {"padding": "SAME"}),
    "even filter, same": ((1, 5, 4, 2), (2, 4, 2, 3), {"padding": "SAME"}),
    "1x1 filter": ((3, 4, 5, 7), (1, 1, 7, 5), {}),
    "stride": ((2, 7, 8, 3), (3, 3, 3, 2), {"strides": 2}),
    "stride, same": ((2, 7, 8, 3), (3, 2, 3, 2), {"strides": (2, 3), "padding": "SAME"}),
    "stride larger than the filter": ((1, 9, 9, 2), (2, 2, 2, 3), {"strides": 3}),
    "dilation": ((1, 9, 8, 2), (3, 2, 2, 3), {"dilations": (2, 3)}),
    "dilation, same": ((1, 7, 8, 2), (3, 3, 2, 3), {"dilations": 2, "padding": "SAME"}),
    "groups": ((2, 5, 5, 6), (3, 3, 2, 9), {}),
    "groups, same, stride": ((1, 6, 5, 4), (3, 3, 2, 6), {"strides": 2, "padding": "SAME"}),
    "depthwise": ((2, 5, 6, 4), (3, 3, 1, 4), {"padding": "SAME"}),
    "depthwise, stride, multiplier": ((1, 7, 6, 3), (3, 3, 1, 6), {"strides": 2}),
    "one channel": ((2, 8, 8, 1), (3, 3, 1, 5), {"padding": "SAME"}),
    "one pixel": ((1, 1, 1, 2), (1, 1, 2, 3), {}),
    "filter larger than the image, same": ((1, 2, 3, 2), (5, 5, 2, 2), {"padding": "SAME"}),
    "no images": ((0, 5, 5, 2), (3, 3, 2, 4), {}),
    "prime sizes": ((1, 11, 13, 5), (5, 3, 5, 17), {"padding": "SAME"}),
    "many channels": ((2, 8, 8, 16), (3, 3, 16, 32), {"padding": "SAME"}),
}


def attention_shapes(batch, heads, t_q, t_k, d, d_v):
    return (batch, t_q, heads, d), (batch, t_k, heads, d), (batch, t_k, heads, d_v)


def attention_results(batch, heads, t_q, t_k, d, d_v):
    return (batch, t_q, heads, d_v), (batch, t_q, heads), (batch, t_q, heads)


# (suffix of the name, options, ((batch, heads, t_q, t_k, d, d_v), optional mask) of each call)
ATTENTIONS = (
    ("", {"causal": False}, (((2, 3, 4, 5, 2, 3), ()), ((1, 1, 1, 1, 1, 1), ()), ((1, 2, 13, 7, 5, 9), ()),
                             ((0, 2, 3, 3, 2, 2), ()), ((1, 1, 3, 2, 4, 0), ()), ((1, 1, 67, 70, 3, 5), ()))),
    ("/causal", {"causal": True}, (((2, 2, 5, 5, 3, 2), ()), ((1, 3, 3, 8, 2, 3), ()), ((1, 1, 9, 4, 3, 1), ()),
                                   ((1, 1, 70, 66, 3, 5), ()))),
    ("/masked", {"causal": False}, tuple(((2, 3, 4, 5, 2, 3), (Indices(mask, -1, 5),)) for mask in (
        (2, 3, 4, 5), (2, 1, 1, 5), (1, 1, 4, 5), (1, 3, 1, 5)))),
    ("/masked, causal", {"causal": True}, (((2, 2, 5, 5, 3, 2), (Indices((2, 1, 5, 5), 0, 5),)),)),
)

POOLS = {
    "plain": ((2, 6, 4, 3), {"ksize": 2}),
    "odd size": ((2, 7, 5, 3), {"ksize": 2}),
    "same": ((2, 7, 5, 3), {"ksize": 2, "padding": "SAME"}),
    "overlapping": ((1, 8, 7, 2), {"ksize": 3, "strides": 2}),
    "overlapping, same": ((1, 8, 7, 5), {"ksize": (3, 2), "strides": (2, 1), "padding": "SAME"}),
    "stride larger than the window": ((1, 9, 9, 2), {"ksize": 2, "strides": 3}),
    "1x1 window": ((1, 3, 4, 2), {"ksize": 1}),
    "no images": ((0, 4, 4, 2), {"ksize": 2}),
    "many channels": ((1, 6, 6, 19), {"ksize": 2}),
}


def pool(name: str, image, options):
    function = getattr(tf.nn, name)
    return Case(lambda x: function(x, **options), lambda np, x: getattr(np, name)(x, **options), ((image,),))


# The attributes of the primitives for the gradients of pooling and convolution.
POOL_ATTRS = {"image": (2, 5, 4, 3), "result": (2, 3, 2, 3), "window": (2, 2), "strides": (2, 2), "pads": (0, 0)}
CONV_ATTRS = {"image": (2, 5, 4, 2), "filter": (3, 2, 2, 3), "result": (2, 3, 2, 3), "strides": (2, 2),
              "dilations": (1, 1), "pads": (1, 0), "groups": 1}

CASES = {
    # ── arithmetic ──
    "add": Case(tf.add, lambda np, x, y: x + y, BINARY, kinds="fiu", exact=True),
    "subtract": Case(tf.subtract, lambda np, x, y: x - y, BINARY, kinds="fiu", exact=True),
    "multiply": Case(tf.multiply, lambda np, x, y: x * y, BINARY, kinds="fiu", exact=True),
    "divide": Case(tf.divide, lambda np, x, y: x / y, BINARY, 0.5, 2, exact=True),
    "floordiv": Case(math.floordiv, lambda np, x, y: np.floordiv(x, y), BINARY, 0.3, 9, kinds="fiu", finite_differences=False),
    "mod": Case(lambda x, y: tf.convert_to_tensor(x) % y, lambda np, x, y: np.mod_or_0(x, y), BINARY, 0.3, 9, kinds="fiu",
                exact=True, finite_differences=False),
    "negative": Case(tf.negative, lambda np, x: -x, UNARY, kinds="fi", exact=True),
    "abs": Case(tf.abs, lambda np, x: np.abs(x), UNARY, kinds="fi", exact=True),
    "sign": Case(tf.sign, lambda np, x: np.sign(x), UNARY, kinds="fi", exact=True, finite_differences=False),
    "maximum": Case(tf.maximum, lambda np, x, y: np.maximum(x, y), BINARY, kinds="fiu", exact=True),
    "minimum": Case(tf.minimum, lambda np, x, y: np.minimum(x, y), BINARY, kinds="fiu", exact=True),
    "pow": Case(tf.pow, lambda np, x, y: np.power(x, y), BINARY, 0.3, 2.5),
    "pow/integers": Case(lambda x, y: x ** abs(y), lambda np, x, y: np.power(x, np.abs(y)), BINARY, kinds="i"),
    "pow/3": Case(lambda x: x ** 3, lambda np, x: x * x * x, UNARY, kinds="fi"),
    "pow/-2": Case(lambda x: x ** -2, lambda np, x: 1 / (x * x), UNARY, 0.5, 2),
    "pow/base 2": Case(lambda x: 2.0 ** x, lambda np, x: np.power(2.0, x), UNARY),
    "floor": Case(tf.floor, lambda np, x: np.floor(x), UNARY, -9, 9, exact=True, finite_differences=False),
    "ceil": Case(tf.ceil, lambda np, x: np.ceil(x), UNARY, -9, 9, exact=True, finite_differences=False),
    "round": Case(tf.round, lambda np, x: np.round(x), UNARY, -9, 9, exact=True),
    # ── unary functions ──
    "exp": Case(tf.exp, lambda np, x: np.exp(x), UNARY, finite_differences=False),
    "expm1": Case(math.expm1, lambda np, x: np.expm1(x), UNARY),
    "log": Case(tf.log, lambda np, x: np.log(x), UNARY, 0.1, 9),
    "log1p": Case(math.log1p, lambda np, x: np.log1p(x), UNARY, -0.9, 3),
    "sqrt": Case(tf.sqrt, lambda np, x: np.sqrt(x), UNARY, 0.1, 9, exact=True),
    "rsqrt": Case(tf.rsqrt, lambda np, x: 1 / np.sqrt(x), UNARY, 0.1, 9),
    "reciprocal": Case(math.reciprocal, lambda np, x: 1 / x, UNARY, 0.5, 2),
    "tanh": Case(tf.tanh, lambda np, x: np.tanh(x), UNARY, -4, 4),
    "sin": Case(tf.sin, lambda np, x: np.sin(x), UNARY, -9, 9),
    "cos": Case(tf.cos, lambda np, x: np.cos(x), UNARY, -9, 9),
    "erf": Case(tf.erf, lambda np, x: np.erf(x), UNARY, -3, 3),
    "sigmoid": Case(tf.sigmoid, lambda np, x: 1 / (1 + np.exp(-x)), UNARY, -6, 6),
    "square": Case(tf.square, lambda np, x: x * x, UNARY, kinds="fi"),
    "identity": Case(tf.identity, lambda np, x: x, UNARY, kinds="fiub", exact=True),
    "stop_gradient": Case(lambda x: tf.stop_gradient(x) * x, lambda np, x: np.stop_gradient(x) * x, UNARY, finite_differences=False),
    "relu": Case(tf.nn.relu, lambda np, x: np.maximum(x, 0), UNARY, exact=True),
    "cast": Case(lambda x: tf.cast(x, tf.int32), lambda np, x: x.astype("int32"), UNARY, -99, 99, kinds="fub", differentiable=False),
    "cast/float32": Case(lambda x: tf.cast(x, tf.float32), lambda np, x: x.astype("float32"), UNARY, kinds="fiub", finite_differences=False),
    "cast/uint8": Case(lambda x: tf.cast(x, tf.uint8), lambda np, x: x.astype("uint8"), UNARY, 0, 255, kinds="fib", differentiable=False),
    "cast/bool": Case(lambda x: tf.cast(x, tf.bool), lambda np, x: x != 0, UNARY, kinds="fiu", differentiable=False),
    # ── comparisons, logic, bits ──
    "equal": Case(lambda x, y: tf.equal(tf.floor(x), tf.floor(y)) if x.dtype.is_floating else x == y,
                  lambda np, x, y: np.floor(x) == np.floor(y), BINARY, kinds="fiub", differentiable=False),
    "not_equal": Case(tf.not_equal, lambda np, x, y: x != y, BINARY, kinds="fiub", differentiable=False),
    "less": Case(tf.less, lambda np, x, y: x < y, BINARY, kinds="fiu", differentiable=False),
    "less_equal": Case(tf.less_equal, lambda np, x, y: x <= y, BINARY, kinds="fiu", differentiable=False),
    "greater": Case(tf.greater, lambda np, x, y: x > y, BINARY, kinds="fiu", differentiable=False),
    "greater_equal": Case(tf.greater_equal, lambda np, x, y: x >= y, BINARY, kinds="fiu", differentiable=False),
    "bitwise_and": Case(tf.bitwise.bitwise_and, lambda np, x, y: x & y, BINARY, kinds="iub"),
    "bitwise_or": Case(tf.bitwise.bitwise_or, lambda np, x, y: x | y, BINARY, kinds="iub"),
    "bitwise_xor": Case(tf.bitwise.bitwise_xor, lambda np, x, y: x ^ y, BINARY, kinds="iub"),
    "invert": Case(tf.bitwise.invert, lambda np, x: ~x, UNARY, kinds="iub"),
    "left_shift": Case(lambda x: tf.bitwise.left_shift(x, 3), lambda np, x: x << 3, UNARY, kinds="i"),
    "right_shift": Case(lambda x: tf.bitwise.right_shift(x, 2), lambda np, x: x >> 2, UNARY, kinds="i"),
    "logical_and": Case(tf.logical_and, lambda np, x, y: x & y, BINARY, kinds="b"),
    "logical_or": Case(tf.logical_or, lambda np, x, y: x | y, BINARY, kinds="b"),
    "logical_xor": Case(math.logical_xor, lambda np, x, y: x ^ y, BINARY, kinds="b"),
    "logical_not": Case(tf.logical_not, lambda np, x: ~x, UNARY, kinds="b"),
    "is_nan": Case(lambda x: math.is_nan(tf.log(x)), lambda np, x: x < 0, UNARY, differentiable=False),
    "is_finite": Case(lambda x: math.is_finite(1.0 / tf.round(x)), lambda np, x: np.round(x) != 0, UNARY, differentiable=False),
    "is_finite/nan": Case(lambda x: math.is_finite(tf.sqrt(x)), lambda np, x: x >= 0, UNARY, differentiable=False),
    "select": Case(lambda t, x, y: tf.where(t > 1, x, y), lambda np, t, x, y: np.where(t > 1, x, y), TERNARY,
                   kinds="fiu", exact=True),
    "select/scalar": Case(lambda x: tf.where(x > 0.5, x, 0.0), lambda np, x: np.where(x > 0.5, x, 0), UNARY),
    "clip_by_value": Case(lambda x: tf.clip_by_value(x, -1, 1), lambda np, x: np.clip(x, -1, 1), UNARY, kinds="fi"),
    "iota": Case(lambda: tf.range(7), lambda np: np.arange(7, dtype="int32"), ((),)),
    "iota/delta": Case(lambda: tf.range(3.0, 8.0, 0.5), lambda np: np.arange(3, 8, 0.5, dtype="float32"), ((),)),
    # ── reductions ──
    "reduce_sum": Case(tf.reduce_sum, lambda np, x: np.sum(x, dtype=x.dtype), UNARY + RANK3, kinds="fiu"),
    "reduce_sum/long": Case(tf.reduce_sum, lambda np, x: np.sum(x), (((40000,),), ((2, 20011),), ((500, 100),))),
    "reduce_sum/last axis": Case(lambda x: tf.reduce_sum(x, -1), lambda np, x: np.sum(x, -1), RANK3 + MATRIX),
    "reduce_sum/first axis": Case(lambda x: tf.reduce_sum(x, 0), lambda np, x: np.sum(x, 0), RANK3 + MATRIX),
    "reduce_sum/middle axis": Case(lambda x: tf.reduce_sum(x, 1, keepdims=True),
                              lambda np, x: np.sum(x, 1, keepdims=True), RANK3),
    "reduce_sum/outer axes": Case(lambda x: tf.reduce_sum(x, (0, 2)), lambda np, x: np.sum(x, (0, 2)), RANK3),
    "reduce_sum/reversed input": Case(lambda x: tf.reduce_sum(tf.exp(x[::-1])), lambda np, x: np.sum(np.exp(x)),
                                      (((0,),), ((3,),))),
    "reduce_max": Case(lambda x: tf.reduce_max(x, 1), lambda np, x: np.max(x, 1),
                       (((3, 5),), ((1, 1),), ((0, 4),), ((13, 7),), ((2, 301),)), kinds="fiu", exact=True),
    "reduce_max/all axes": Case(tf.reduce_max, lambda np, x: np.max(x), (((2, 3),), ((),), ((1031,),))),
    "reduce_min": Case(lambda x: tf.reduce_min(x, 0), lambda np, x: np.min(x, 0),
                       (((3, 5),), ((1, 1),), ((4, 0),), ((13, 7),)), kinds="fiu", exact=True),
    "reduce_mean": Case(lambda x: tf.reduce_mean(x, -1), lambda np, x: np.mean(x, -1), RANK3 + (((7,),),)),
    "reduce_mean/all axes": Case(tf.reduce_mean, lambda np, x: np.mean(x), (((2, 3),), ((),), ((50000,),))),
    "reduce_variance": Case(lambda x: tf.reduce_variance(x, 0), lambda np, x: np.var(x, 0), RANK3),
    "reduce_std": Case(lambda x: tf.reduce_std(x, -1), lambda np, x: np.std(x, -1), (((2, 3, 4),), ((5, 7),))),
    "reduce_any": Case(lambda x: tf.reduce_any(x, -1), lambda np, x: np.any(x, -1), MATRIX, kinds="b"),
    "reduce_all": Case(lambda x: tf.reduce_all(x, 0), lambda np, x: np.all(x, 0), MATRIX, kinds="b"),
    "reduce_logsumexp": Case(lambda x: tf.reduce_logsumexp(x, -1), lambda np, x: np.log(np.sum(np.exp(x), -1)),
                             (((3, 5),), ((1, 1),), ((13, 7),))),
    "argmax": Case(lambda x: tf.argmax(x, 1), lambda np, x: np.argmax(x, 1).astype("int32"),
                   (((3, 5),), ((1, 1),), ((0, 4),), ((13, 7),), ((4, 1031),)), kinds="fiu", differentiable=False),
    "argmin": Case(lambda x: tf.argmin(x), lambda np, x: np.argmin(x, 0).astype("int32"),
                   (((3, 5),), ((7,),), ((4, 0),)), kinds="fiu", differentiable=False),
    "add_n": Case(lambda x, y, z: tf.add_n([x, y, z]), lambda np, x, y, z: x + y + z,
                  (((2, 3),) * 3, ((),) * 3), kinds="fi"),
    # ── shape and layout ──
    "reshape": Case(lambda x: tf.reshape(x, (2, -1)), lambda np, x: np.reshape(x, (2, -1)),
                    (((4, 3),), ((2, 1),), ((6,),), ((2, 3, 7),)), kinds="fiub", exact=True),
    "reshape/of a transpose": Case(lambda x: tf.reshape(tf.transpose(x), (-1,)), lambda np, x: x.T.reshape(-1),
                                   RANK3, kinds="fiu", exact=True),
    "transpose": Case(tf.transpose, lambda np, x: np.transpose(x), RANK3 + MATRIX + (((),), ((7,),)), kinds="fiub",
                      exact=True),
    "transpose/perm": Case(lambda x: tf.transpose(x, (1, 2, 0)), lambda np, x: np.transpose(x, (1, 2, 0)), RANK3,
                             kinds="fiu"),
    "transpose/added": Case(lambda x, y: tf.transpose(x) + y, lambda np, x, y: x.T + y,
                               (((3, 4), (4, 3)), ((1, 5), (5, 1)), ((37, 41), (41, 37)))),
    "broadcast_to": Case(lambda x: tf.broadcast_to(x, (2, 4, 3)), lambda np, x: np.broadcast_to(x, (2, 4, 3)),
                         (((1, 3),), ((),), ((3,),), ((2, 1, 1),), ((4, 3),)), kinds="fiub", exact=True),
    "slice": Case(lambda x: x[1:3], lambda np, x: x[1:3], (((4, 3),), ((3,),), ((5, 0),)), kinds="fiub", exact=True),
    "slice/steps": Case(lambda x: x[::2, -2::-1], lambda np, x: x[::2, -2::-1], MATRIX, kinds="fiub", exact=True),
    "slice/integers": Case(lambda x: x[1, ..., -1], lambda np, x: x[1, ..., -1], (((2, 3, 4),), ((3, 1, 2),)), kinds="fi"),
    "slice/new axes": Case(lambda x: x[:, None, 1:, None], lambda np, x: x[:, None, 1:, None], MATRIX[:2]),
    "slice/of a slice": Case(lambda x: x[1:, ::-1][:, 1::2] * 2, lambda np, x: x[1:, ::-1][:, 1::2] * 2,
                            (((4, 6),), ((2, 3),)), kinds="fi"),
    "slice/begin and size": Case(lambda x: tf.slice(x, (1, 0, 1), (1, -1, 2)), lambda np, x: x[1:2, :, 1:3],
                                (((2, 3, 4),),)),
    "reverse": Case(lambda x: tf.reverse(x, (0, 2)), lambda np, x: x[::-1, :, ::-1], RANK3, kinds="fiub"),
    "pad": Case(lambda x: tf.pad(x, ((1, 2), (0, 3))), lambda np, x: np.pad(x, ((1, 2), (0, 3))), MATRIX,
                  kinds="fiub", exact=True),
    "pad/constant_values": Case(lambda x: tf.pad(x, ((0, 1),), constant_values=7),
                             lambda np, x: np.pad(x, ((0, 1),), constant_values=7), (((3,),), ((0,),)), kinds="fiu"),
    "pad/steps": Case(lambda x: p.pad_strided(x, begin=(4, 1), shape=(5, 8), steps=(-2, 3)),
                        lambda np, x: np.embed(x, (5, 8), (slice(4, None, -2), slice(1, 8, 3))), (((3, 3),),),
                        kinds="fi"),
    "concat": Case(lambda x, y: tf.concat([x, y, x], 1), lambda np, x, y: np.concatenate([x, y, x], 1),
                   (((2, 3), (2, 1)), ((3, 0), (3, 2)), ((0, 2), (0, 3)), ((5, 7, 2), (5, 3, 2))), kinds="fiub",
                   exact=True),
    "concat/first axis": Case(lambda x, y: tf.concat([x, y + 1], 0), lambda np, x, y: np.concatenate([x, y + 1], 0),
                         (((2, 3), (4, 3)), ((0, 3), (2, 3)), ((1,), (6,))), kinds="fi"),
    "stack": Case(lambda x, y: tf.stack([x, y], 1), lambda np, x, y: np.stack([x, y], 1),
                  (((2, 3),) * 2, ((1, 0),) * 2), kinds="fiub"),
    "unstack": Case(lambda x: tf.unstack(x, axis=1), lambda np, x: [x[:, i] for i in range(3)], (((2, 3),),)),
    "split": Case(lambda x: tf.split(x, (1, 0, 2), 1), lambda np, x: [x[:, :1], x[:, :0], x[:, 1:]],
                  (((2, 3),), ((0, 3),)), kinds="fi"),
    "split/inferred size": Case(lambda x: tf.split(x, (2, -1, 1)), lambda np, x: [x[:2], x[2:-1], x[-1:]], (((6, 2),), ((3,),)), kinds="fi"),
    "split/equal": Case(lambda x: tf.split(x, 3), lambda np, x: np.split(x, 3), (((6, 2),), ((3,),)), kinds="fi"),
    "expand_dims": Case(lambda x: tf.expand_dims(x, -2), lambda np, x: np.expand_dims(x, -2), MATRIX, kinds="fiub"),
    "squeeze": Case(lambda x: tf.squeeze(x, 1), lambda np, x: np.squeeze(x, 1), (((3, 1, 2),), ((1, 1),)), kinds="fi"),
    "tile": Case(lambda x: tf.tile(x, (2, 3)), lambda np, x: np.tile(x, (2, 3)), MATRIX, kinds="fiub"),
    "fill": Case(lambda x: tf.fill((2, 3), x) * tf.ones((3,), x.dtype), lambda np, x: np.full((2, 3), x), (((),),),
                 kinds="fi"),
    # ── gather and scatter ──
    "gather": Case(tf.gather, lambda np, x, i: x[i], (
        ((5, 3), Indices((4,), 0, 5)), ((7,), Indices((2, 3), 0, 7)), ((3, 2, 2), Indices((), 0, 3)),
        ((4, 3), Indices((0,), 0, 4)), ((4, 0), Indices((3,), 0, 4))), kinds="fiub", exact=True),
    "gather/axis": Case(lambda x, i: tf.gather(x, i, axis=1), lambda np, x, i: np.take(x, i, 1), (
        ((2, 5, 3), Indices((4,), 0, 5)), ((3, 4), Indices((2, 2), 0, 4))), kinds="fiu"),
    "gather/out of range": Case(lambda x: tf.gather(x, [2, -1, 0, 9]), lambda np, x: x[np.array([2, 0, 0, 0])] * np.array(
        [[1], [0], [1], [0]], x.dtype), (((3, 2),), ((5, 7),)), kinds="fi"),
    "scatter_add": Case(lambda x, i: tf.math.unsorted_segment_sum(x, i, 4), lambda np, x, i: np.segment_sum(x, i, 4), (
        ((6, 3), Indices((6,), 0, 4)), ((7,), Indices((7,), -1, 6)), ((0, 2), Indices((0,), 0, 4))), kinds="fi"),
    "one_hot": Case(lambda i: tf.one_hot(i, 4), lambda np, i: np.one_hot(i, 4), (
        (Indices((5,), -1, 5),), (Indices((2, 3), 0, 4),), (Indices((), 0, 4),), (Indices((0,), 0, 4),))),
    "one_hot/first axis": Case(lambda i: tf.one_hot(i, 3, 5.0, -1.0, axis=0),
                               lambda np, i: np.one_hot(i, 3).T * 6 - 1, ((Indices((5,), -1, 3),),)),
    # ── products ──
    **{f"matmul{'/a transposed' * a}{'/b transposed' * b}": Case(
        lambda x, y, a=a, b=b: tf.matmul(x, y, a, b),
        lambda np, x, y, a=a, b=b: np.matmul(np.swapaxes(x, -1, -2) if a else x, np.swapaxes(y, -1, -2) if b else y),
        tuple((((*lead, k, m) if a else (*lead, m, k)), ((*lead, n, k) if b else (*lead, k, n)))
              for lead, m, k, n in (((), 3, 5, 2), ((2,), 3, 4, 5), ((), 1, 1, 1), ((), 0, 3, 2), ((), 3, 0, 2),
                                    ((), 17, 13, 19), ((2, 3), 4, 3, 1), ((), 1, 67, 33), ((), 65, 3, 1))))
       for a, b in product((False, True), repeat=2)},
    "matmul/batch and matrix": Case(tf.matmul, lambda np, x, y: np.matmul(x, y), (((2, 3, 4), (4, 5)),)),
    "matmul/broadcast": Case(tf.matmul, lambda np, x, y: np.matmul(x, y), (
        ((2, 1, 3, 4), (5, 4, 2)), ((3, 4), (2, 4, 5)), ((1, 3, 4), (2, 4, 5)))),
    "tensordot": Case(lambda x, y: tf.tensordot(x, y, ((0, 2), (1, 0))), lambda np, x, y: np.tensordot(
        x, y, ((0, 2), (1, 0))), (((2, 3, 4), (4, 2, 5)),)),
    "tensordot/one axis": Case(lambda x, y: tf.tensordot(x, y, 1), lambda np, x, y: np.tensordot(x, y, 1),
                        (((2, 3), (3,)), ((4,), (4,)))),
    # ── convolutions and pools ──
    **{"conv2d" + f"/{name}" * (name != "plain"): conv(image, filters, **options)
       for name, (image, filters, options) in CONVOLUTIONS.items()},
    "depthwise_conv2d": Case(lambda x, w: nn.depthwise_conv2d(x, w, padding="SAME"), lambda np, x, w: np.conv2d(
        x, np.reshape(w, (3, 3, 1, 6)), padding="SAME"), (((1, 4, 5, 3), (3, 3, 3, 2)),)),
    "conv2d_input_grad": Case(lambda g, w: c.conv2d_input_grad(g, w, **CONV_ATTRS), lambda np, g, w:
                              np.conv2d_vjp(np.zeros(CONV_ATTRS["image"]), w, g)[0], (((2, 3, 2, 3), (3, 2, 2, 3)),)),
    "conv2d_filter_grad": Case(lambda x, g: c.conv2d_filter_grad(x, g, **CONV_ATTRS), lambda np, x, g:
                               np.conv2d_vjp(x, np.zeros(CONV_ATTRS["filter"]), g)[1], (((2, 5, 4, 2), (2, 3, 2, 3)),)),
    **{"max_pool" + f"/{name}" * (name != "plain"): pool("max_pool2d", *args) for name, args in POOLS.items()},
    **{"avg_pool" + f"/{name}" * (name != "plain"): pool("avg_pool2d", *args) for name, args in POOLS.items()},
    "max_pool_select": Case(lambda y, x: c.max_pool_select(y, x, **POOL_ATTRS), lambda np, y, x:
                            np.max_pool_select(y, x), (((2, 5, 4, 3), (2, 5, 4, 3)),)),
    "max_pool_scatter": Case(lambda g, x: c.max_pool_scatter(g, x, **POOL_ATTRS), lambda np, g, x:
                             np.max_pool_scatter(g, x), (((2, 3, 2, 3), (2, 5, 4, 3)),)),
    "avg_pool_grad": Case(lambda g: c.avg_pool_grad(g, **POOL_ATTRS), lambda np, g: np.avg_pool_vjp(
        g, (2, 5, 4, 3)), (((2, 3, 2, 3),),)),
    # ── activations and losses ──
    "relu6": Case(nn.relu6, lambda np, x: np.clip(x, 0, 6), UNARY, -9, 9),
    "leaky_relu": Case(tf.nn.leaky_relu, lambda np, x: np.where(x > 0, x, 0.2 * x), UNARY),
    "elu": Case(tf.nn.elu, lambda np, x: np.where(x > 0, x, np.expm1(x)), UNARY),
    "silu": Case(tf.nn.silu, lambda np, x: x / (1 + np.exp(-x)), UNARY),
    "gelu": Case(tf.nn.gelu, lambda np, x: x * 0.5 * (1 + np.erf(x / 2 ** 0.5)), UNARY),
    "gelu/approximate": Case(lambda x: tf.nn.gelu(x, True), lambda np, x: x * 0.5 * (1 + np.tanh(
        0.7978845608028654 * (x + 0.044715 * x * x * x))), UNARY),
    "softplus": Case(tf.nn.softplus, lambda np, x: np.log1p(np.exp(x)), UNARY),
    "softmax": Case(tf.nn.softmax, lambda np, x: np.exp(x) / np.sum(np.exp(x), -1, keepdims=True),
                    (((3, 5),), ((1, 1),), ((0, 4),), ((13, 7),), ((2, 301),), ((2, 3, 4),))),
    "softmax/first axis": Case(lambda x: tf.nn.softmax(x, 0), lambda np, x: np.exp(x) / np.sum(
        np.exp(x), 0, keepdims=True), (((3, 5),), ((7, 1, 2),))),
    "log_softmax": Case(tf.nn.log_softmax, lambda np, x: x - np.log(np.sum(np.exp(x), -1, keepdims=True)),
                        (((3, 5),), ((1, 1),), ((0, 4),), ((13, 7),))),
    "softmax_cross_entropy_with_logits": Case(
        tf.nn.softmax_cross_entropy_with_logits, lambda np, z, x: np.sum(
            z * (np.log(np.sum(np.exp(x), -1, keepdims=True)) - x), -1), (((3, 5), (3, 5)),), 0.1, 1),
    "sparse_softmax_cross_entropy_with_logits": Case(
        tf.nn.sparse_softmax_cross_entropy_with_logits, lambda np, i, x: np.sum(np.one_hot(i, 5) * (
            np.log(np.sum(np.exp(x), -1, keepdims=True)) - x), -1),
        ((Indices((3,), 0, 5), (3, 5)), (Indices((2, 3), 0, 5), (2, 3, 5)), (Indices((0,), 0, 5), (0, 5)))),
    "sigmoid_cross_entropy_with_logits": Case(
        tf.nn.sigmoid_cross_entropy_with_logits, lambda np, z, x: np.log1p(np.exp(x)) - z * x, (((2, 3), (2, 3)),),
        0.1, 2),
    "bias_add": Case(tf.nn.bias_add, lambda np, x, b: x + b, (((2, 3), (3,)), ((2, 4, 4, 5), (5,)))),
    "l2_normalize": Case(lambda x: nn.l2_normalize(x, -1), lambda np, x: x / np.sqrt(np.sum(
        x * x, -1, keepdims=True)), (((3, 5),), ((13, 7),)), 0.2, 2),
    # ── attention ──
    **{f"attention{name}": Case(lambda q, k, v, *m, a=a: att.attention(q, k, v, *(x > 0 for x in m), scale=0.7, **a),
                                lambda np, q, k, v, *m, a=a: np.attention(q, k, v, *(x > 0 for x in m), scale=0.7, **a),
                                tuple((*attention_shapes(*sizes), *mask) for sizes, mask in masks))
       for name, a, masks in ATTENTIONS},
    **{f"attention_grad{name}": Case(
        lambda q, k, v, g, s, d, *m, a=a: att.attention_grad(q, k, v, g, s, d, *(x > 0 for x in m), scale=0.7, **a),
        lambda np, q, k, v, g, s, d, *m, a=a: np.attention_vjp(q, k, v, g, s, d, *(x > 0 for x in m), scale=0.7, **a),
        tuple((*attention_shapes(*sizes), *attention_results(*sizes), *mask) for sizes, mask in masks))
       for name, a, masks in ATTENTIONS},
    "random_bits": Case(lambda i: c.random_bits(i, shape=(3, 7)), lambda np, i: np.philox(i, (3, 7)),
                        ((Indices((4,), -2**31, 2**31),),)),
    **ORDERS,
    **SUMS,
    **LAYERS,
    # ── scan ──
    **LOOPS,
}
