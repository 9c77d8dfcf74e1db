"""The table of operations: one line each, which the harness multiplies by everything else.

    name: (ours, theirs, shapes, options...)

`ours` is called with Tensors, `theirs` with a namespace first (NumPy's names, and those of
witnesses.py) and then arrays. `shapes` lists what to call them with: one tuple of shapes for each
call. The name before a slash is the primitive or function that the line is about. Some families
have files of their own: cases_*.py.

Nothing here needs NumPy, so that the same table runs in a page.
"""
from itertools import product

import tensorbrook as tf
from op_case import CUBE, MATRIX, ONE, THREE, TWO, Case, Whole
from op_cases_layers import LAYERS
from op_cases_scan import LOOPS
from op_cases_sort import ORDERS
from op_cases_cumulative import SUMS
from tensorbrook.ops import kernel_primitives as c
from tensorbrook.ops import attention as att
from tensorbrook.ops import math, nn
from tensorbrook.ops import primitives as p

# ── convolutions and pools, by their settings ─────────────────────────────────────────────────


def conv(image, filters, **settings):
    return Case(lambda x, w: tf.nn.conv2d(x, w, **settings),
                lambda np, x, w: np.conv2d(x, w, **settings), ((image, filters),))


CONVOLUTIONS = {
    "plain": ((2, 6, 5, 3), (3, 2, 3, 4), {}),
    "same": ((2, 5, 6, 2), (3, 3, 2, 3), {"padding": "SAME"}),
    "even filter, same": ((1, 5, 4, 2), (2, 4, 2, 3), {"padding": "SAME"}),
    "one by one": ((3, 4, 5, 7), (1, 1, 7, 5), {}),
    "stride": ((2, 7, 8, 3), (3, 3, 3, 2), {"strides": 2}),
    "stride, same": ((2, 7, 8, 3), (3, 2, 3, 2), {"strides": (2, 3), "padding": "SAME"}),
    "stride over the filter": ((1, 9, 9, 2), (2, 2, 2, 3), {"strides": 3}),
    "dilation": ((1, 9, 8, 2), (3, 2, 2, 3), {"dilations": (2, 3)}),
    "dilation, same": ((1, 7, 8, 2), (3, 3, 2, 3), {"dilations": 2, "padding": "SAME"}),
    "groups": ((2, 5, 5, 6), (3, 3, 2, 9), {}),
    "groups, same, stride": ((1, 6, 5, 4), (3, 3, 2, 6), {"strides": 2, "padding": "SAME"}),
    "depthwise": ((2, 5, 6, 4), (3, 3, 1, 4), {"padding": "SAME"}),
    "depthwise, stride, multiplier": ((1, 7, 6, 3), (3, 3, 1, 6), {"strides": 2}),
    "one channel": ((2, 8, 8, 1), (3, 3, 1, 5), {"padding": "SAME"}),
    "one pixel": ((1, 1, 1, 2), (1, 1, 2, 3), {}),
    "filter over the image, same": ((1, 2, 3, 2), (5, 5, 2, 2), {"padding": "SAME"}),
    "no images": ((0, 5, 5, 2), (3, 3, 2, 4), {}),
    "primes": ((1, 11, 13, 5), (5, 3, 5, 17), {"padding": "SAME"}),
    "wide": ((2, 8, 8, 16), (3, 3, 16, 32), {"padding": "SAME"}),
}

# Attention: sizes (batch, heads, t_q, t_k, d, d_v), and the mask's shape where there is one.
def attention_shapes(batch, heads, t_q, t_k, d, d_v):
    return (batch, t_q, heads, d), (batch, t_k, heads, d), (batch, t_k, heads, d_v)


def attention_results(batch, heads, t_q, t_k, d, d_v):
    return (batch, t_q, heads, d_v), (batch, t_q, heads), (batch, t_q, heads)


ATTENTIONS = (
    ("", {"causal": False}, (((2, 3, 4, 5, 2, 3), ()), ((1, 1, 1, 1, 1, 1), ()), ((1, 2, 13, 7, 5, 9), ()),
                             ((0, 2, 3, 3, 2, 2), ()), ((1, 1, 3, 2, 4, 0), ()), ((1, 1, 67, 70, 3, 5), ()))),
    ("/causal", {"causal": True}, (((2, 2, 5, 5, 3, 2), ()), ((1, 3, 3, 8, 2, 3), ()), ((1, 1, 9, 4, 3, 1), ()),
                                   ((1, 1, 70, 66, 3, 5), ()))),
    ("/masked", {"causal": False}, tuple(((2, 3, 4, 5, 2, 3), (Whole(mask, -1, 5),)) for mask in (
        (2, 3, 4, 5), (2, 1, 1, 5), (1, 1, 4, 5), (1, 3, 1, 5)))),
    ("/masked, causal", {"causal": True}, (((2, 2, 5, 5, 3, 2), (Whole((2, 1, 5, 5), 0, 5),)),)),
)

POOLS = {
    "plain": ((2, 6, 4, 3), {"ksize": 2}),
    "odd": ((2, 7, 5, 3), {"ksize": 2}),
    "same": ((2, 7, 5, 3), {"ksize": 2, "padding": "SAME"}),
    "overlapping": ((1, 8, 7, 2), {"ksize": 3, "strides": 2}),
    "overlapping, same": ((1, 8, 7, 5), {"ksize": (3, 2), "strides": (2, 1), "padding": "SAME"}),
    "apart": ((1, 9, 9, 2), {"ksize": 2, "strides": 3}),
    "one": ((1, 3, 4, 2), {"ksize": 1}),
    "no images": ((0, 4, 4, 2), {"ksize": 2}),
    "wide": ((1, 6, 6, 19), {"ksize": 2}),
}


def pool(name: str, image, settings):
    ours = getattr(tf.nn, name)
    return Case(lambda x: ours(x, **settings), lambda np, x: getattr(np, name)(x, **settings), ((image,),))


# The pooling and convolution that the gradients below belong to, as the primitives take it.
WINDOWS = {"image": (2, 5, 4, 3), "result": (2, 3, 2, 3), "window": (2, 2), "strides": (2, 2), "pads": (0, 0)}
SLID = {"image": (2, 5, 4, 2), "filter": (3, 2, 2, 3), "result": (2, 3, 2, 3), "strides": (2, 2),
        "dilations": (1, 1), "pads": (1, 0), "groups": 1}

CASES = {
    # ── arithmetic ──
    "add": Case(tf.add, lambda np, x, y: x + y, TWO, kinds="fiu", exact=True),
    "subtract": Case(tf.subtract, lambda np, x, y: x - y, TWO, kinds="fiu", exact=True),
    "multiply": Case(tf.multiply, lambda np, x, y: x * y, TWO, kinds="fiu", exact=True),
    "divide": Case(tf.divide, lambda np, x, y: x / y, TWO, 0.5, 2, exact=True),
    "floordiv": Case(math.floordiv, lambda np, x, y: np.floordiv(x, y), TWO, 0.3, 9, kinds="fiu", jumps=True),
    "mod": Case(lambda x, y: tf.convert_to_tensor(x) % y, lambda np, x, y: np.mod(x, y), TWO, 0.3, 9, kinds="f", jumps=True),
    "negative": Case(tf.negative, lambda np, x: -x, ONE, kinds="fi", exact=True),
    "abs": Case(tf.abs, lambda np, x: np.abs(x), ONE, kinds="fi", exact=True),
    "sign": Case(tf.sign, lambda np, x: np.sign(x), ONE, kinds="fi", exact=True, jumps=True),
    "maximum": Case(tf.maximum, lambda np, x, y: np.maximum(x, y), TWO, kinds="fiu", exact=True),
    "minimum": Case(tf.minimum, lambda np, x, y: np.minimum(x, y), TWO, kinds="fiu", exact=True),
    "pow": Case(tf.pow, lambda np, x, y: np.power(x, y), TWO, 0.3, 2.5),
    "pow/3": Case(lambda x: x ** 3, lambda np, x: x * x * x, ONE, kinds="fi"),
    "pow/-2": Case(lambda x: x ** -2, lambda np, x: 1 / (x * x), ONE, 0.5, 2),
    "pow/of 2": Case(lambda x: 2.0 ** x, lambda np, x: np.power(2.0, x), ONE),
    "floor": Case(tf.floor, lambda np, x: np.floor(x), ONE, -9, 9, exact=True, jumps=True),
    "ceil": Case(tf.ceil, lambda np, x: np.ceil(x), ONE, -9, 9, exact=True, jumps=True),
    "round": Case(tf.round, lambda np, x: np.round(x), ONE, -9, 9, exact=True),
    # ── functions of one number ──
    "exp": Case(tf.exp, lambda np, x: np.exp(x), ONE, jumps=True),
    "expm1": Case(math.expm1, lambda np, x: np.expm1(x), ONE),
    "log": Case(tf.log, lambda np, x: np.log(x), ONE, 0.1, 9),
    "log1p": Case(math.log1p, lambda np, x: np.log1p(x), ONE, -0.9, 3),
    "sqrt": Case(tf.sqrt, lambda np, x: np.sqrt(x), ONE, 0.1, 9, exact=True),
    "rsqrt": Case(tf.rsqrt, lambda np, x: 1 / np.sqrt(x), ONE, 0.1, 9),
    "reciprocal": Case(math.reciprocal, lambda np, x: 1 / x, ONE, 0.5, 2),
    "tanh": Case(tf.tanh, lambda np, x: np.tanh(x), ONE, -4, 4),
    "sin": Case(tf.sin, lambda np, x: np.sin(x), ONE, -9, 9),
    "cos": Case(tf.cos, lambda np, x: np.cos(x), ONE, -9, 9),
    "erf": Case(tf.erf, lambda np, x: np.erf(x), ONE, -3, 3),
    "sigmoid": Case(tf.sigmoid, lambda np, x: 1 / (1 + np.exp(-x)), ONE, -6, 6),
    "square": Case(tf.square, lambda np, x: x * x, ONE, kinds="fi"),
    "identity": Case(tf.identity, lambda np, x: x, ONE, kinds="fiub", exact=True),
    "stop_gradient": Case(lambda x: tf.stop_gradient(x) * x, lambda np, x: np.stop_gradient(x) * x, ONE, jumps=True),
    "relu": Case(tf.nn.relu, lambda np, x: np.maximum(x, 0), ONE, exact=True),
    "cast": Case(lambda x: tf.cast(x, tf.int32), lambda np, x: x.astype("int32"), ONE, -99, 99, kinds="fub", derivative=False),
    "cast/float32": Case(lambda x: tf.cast(x, tf.float32), lambda np, x: x.astype("float32"), ONE, kinds="fiub", jumps=True),
    "cast/uint8": Case(lambda x: tf.cast(x, tf.uint8), lambda np, x: x.astype("uint8"), ONE, 0, 255, kinds="fib", derivative=False),
    "cast/bool": Case(lambda x: tf.cast(x, tf.bool), lambda np, x: x != 0, ONE, kinds="fiu", derivative=False),
    # ── comparisons, logic, bits ──
    "equal": Case(lambda x, y: tf.equal(tf.floor(x), tf.floor(y)) if x.dtype.is_floating else x == y,
                  lambda np, x, y: np.floor(x) == np.floor(y), TWO, kinds="fiub", derivative=False),
    "not_equal": Case(tf.not_equal, lambda np, x, y: x != y, TWO, kinds="fiub", derivative=False),
    "less": Case(tf.less, lambda np, x, y: x < y, TWO, kinds="fiu", derivative=False),
    "less_equal": Case(tf.less_equal, lambda np, x, y: x <= y, TWO, kinds="fiu", derivative=False),
    "greater": Case(tf.greater, lambda np, x, y: x > y, TWO, kinds="fiu", derivative=False),
    "greater_equal": Case(tf.greater_equal, lambda np, x, y: x >= y, TWO, kinds="fiu", derivative=False),
    "bitwise_and": Case(tf.bitwise.bitwise_and, lambda np, x, y: x & y, TWO, kinds="iub"),
    "bitwise_or": Case(tf.bitwise.bitwise_or, lambda np, x, y: x | y, TWO, kinds="iub"),
    "bitwise_xor": Case(tf.bitwise.bitwise_xor, lambda np, x, y: x ^ y, TWO, kinds="iub"),
    "invert": Case(tf.bitwise.invert, lambda np, x: ~x, ONE, kinds="iub"),
    "left_shift": Case(lambda x: tf.bitwise.left_shift(x, 3), lambda np, x: x << 3, ONE, kinds="i"),
    "right_shift": Case(lambda x: tf.bitwise.right_shift(x, 2), lambda np, x: x >> 2, ONE, kinds="i"),
    "logical_and": Case(tf.logical_and, lambda np, x, y: x & y, TWO, kinds="b"),
    "logical_or": Case(tf.logical_or, lambda np, x, y: x | y, TWO, kinds="b"),
    "logical_xor": Case(math.logical_xor, lambda np, x, y: x ^ y, TWO, kinds="b"),
    "logical_not": Case(tf.logical_not, lambda np, x: ~x, ONE, kinds="b"),
    "is_nan": Case(lambda x: math.is_nan(tf.log(x)), lambda np, x: x < 0, ONE, derivative=False),
    "is_finite": Case(lambda x: math.is_finite(1.0 / tf.round(x)), lambda np, x: np.round(x) != 0, ONE, derivative=False),
    "is_finite/nan": Case(lambda x: math.is_finite(tf.sqrt(x)), lambda np, x: x >= 0, ONE, derivative=False),
    "select": Case(lambda t, x, y: tf.where(t > 1, x, y), lambda np, t, x, y: np.where(t > 1, x, y), THREE,
                   kinds="fiu", exact=True),
    "select/number": Case(lambda x: tf.where(x > 0.5, x, 0.0), lambda np, x: np.where(x > 0.5, x, 0), ONE),
    "clip_by_value": Case(lambda x: tf.clip_by_value(x, -1, 1), lambda np, x: np.clip(x, -1, 1), ONE, kinds="fi"),
    "iota": Case(lambda: tf.range(7), lambda np: np.arange(7, dtype="int32"), ((),)),
    "iota/steps": Case(lambda: tf.range(3.0, 8.0, 0.5), lambda np: np.arange(3, 8, 0.5, dtype="float32"), ((),)),
    # ── folds ──
    "reduce_sum": Case(tf.reduce_sum, lambda np, x: np.sum(x, dtype=x.dtype), ONE + CUBE, kinds="fiu"),
    "reduce_sum/long": Case(tf.reduce_sum, lambda np, x: np.sum(x), (((40000,),), ((2, 20011),), ((500, 100),))),
    "reduce_sum/last": Case(lambda x: tf.reduce_sum(x, -1), lambda np, x: np.sum(x, -1), CUBE + MATRIX),
    "reduce_sum/first": Case(lambda x: tf.reduce_sum(x, 0), lambda np, x: np.sum(x, 0), CUBE + MATRIX),
    "reduce_sum/middle": Case(lambda x: tf.reduce_sum(x, 1, keepdims=True),
                              lambda np, x: np.sum(x, 1, keepdims=True), CUBE),
    "reduce_sum/outer": Case(lambda x: tf.reduce_sum(x, (0, 2)), lambda np, x: np.sum(x, (0, 2)), CUBE),
    "reduce_sum/of the reverse": Case(lambda x: tf.reduce_sum(tf.exp(x[::-1])), lambda np, x: np.sum(np.exp(x)),
                                      (((0,),), ((3,),))),
    "reduce_max": Case(lambda x: tf.reduce_max(x, 1), lambda np, x: np.max(x, 1),
                       (((3, 5),), ((1, 1),), ((0, 4),), ((13, 7),), ((2, 301),)), kinds="fiu", exact=True),
    "reduce_max/all": Case(tf.reduce_max, lambda np, x: np.max(x), (((2, 3),), ((),), ((1031,),))),
    "reduce_min": Case(lambda x: tf.reduce_min(x, 0), lambda np, x: np.min(x, 0),
                       (((3, 5),), ((1, 1),), ((4, 0),), ((13, 7),)), kinds="fiu", exact=True),
    "reduce_mean": Case(lambda x: tf.reduce_mean(x, -1), lambda np, x: np.mean(x, -1), CUBE + (((7,),),)),
    "reduce_mean/all": Case(tf.reduce_mean, lambda np, x: np.mean(x), (((2, 3),), ((),), ((50000,),))),
    "reduce_variance": Case(lambda x: tf.reduce_variance(x, 0), lambda np, x: np.var(x, 0), CUBE),
    "reduce_std": Case(lambda x: tf.reduce_std(x, -1), lambda np, x: np.std(x, -1), (((2, 3, 4),), ((5, 7),))),
    "reduce_any": Case(lambda x: tf.reduce_any(x, -1), lambda np, x: np.any(x, -1), MATRIX, kinds="b"),
    "reduce_all": Case(lambda x: tf.reduce_all(x, 0), lambda np, x: np.all(x, 0), MATRIX, kinds="b"),
    "reduce_logsumexp": Case(lambda x: tf.reduce_logsumexp(x, -1), lambda np, x: np.log(np.sum(np.exp(x), -1)),
                             (((3, 5),), ((1, 1),), ((13, 7),))),
    "argmax": Case(lambda x: tf.argmax(x, 1), lambda np, x: np.argmax(x, 1).astype("int32"),
                   (((3, 5),), ((1, 1),), ((0, 4),), ((13, 7),), ((4, 1031),)), kinds="fiu", derivative=False),
    "argmin": Case(lambda x: tf.argmin(x), lambda np, x: np.argmin(x, 0).astype("int32"),
                   (((3, 5),), ((7,),), ((4, 0),)), kinds="fiu", derivative=False),
    "add_n": Case(lambda x, y, z: tf.add_n([x, y, z]), lambda np, x, y, z: x + y + z,
                  (((2, 3),) * 3, ((),) * 3), kinds="fi"),
    # ── movement ──
    "reshape": Case(lambda x: tf.reshape(x, (2, -1)), lambda np, x: np.reshape(x, (2, -1)),
                    (((4, 3),), ((2, 1),), ((6,),), ((2, 3, 7),)), kinds="fiub", exact=True),
    "reshape/of a transpose": Case(lambda x: tf.reshape(tf.transpose(x), (-1,)), lambda np, x: x.T.reshape(-1),
                                   CUBE, kinds="fiu", exact=True),
    "transpose": Case(tf.transpose, lambda np, x: np.transpose(x), CUBE + MATRIX + (((),), ((7,),)), kinds="fiub",
                      exact=True),
    "transpose/turned": Case(lambda x: tf.transpose(x, (1, 2, 0)), lambda np, x: np.transpose(x, (1, 2, 0)), CUBE,
                             kinds="fiu"),
    "transpose/of a sum": Case(lambda x, y: tf.transpose(x) + y, lambda np, x, y: x.T + y,
                               (((3, 4), (4, 3)), ((1, 5), (5, 1)), ((37, 41), (41, 37)))),
    "broadcast_to": Case(lambda x: tf.broadcast_to(x, (2, 4, 3)), lambda np, x: np.broadcast_to(x, (2, 4, 3)),
                         (((1, 3),), ((),), ((3,),), ((2, 1, 1),), ((4, 3),)), kinds="fiub", exact=True),
    "slice": Case(lambda x: x[1:3], lambda np, x: x[1:3], (((4, 3),), ((3,),), ((5, 0),)), kinds="fiub", exact=True),
    "slice/steps": Case(lambda x: x[::2, -2::-1], lambda np, x: x[::2, -2::-1], MATRIX, kinds="fiub", exact=True),
    "slice/one": Case(lambda x: x[1, ..., -1], lambda np, x: x[1, ..., -1], (((2, 3, 4),), ((3, 1, 2),)), kinds="fi"),
    "slice/new axes": Case(lambda x: x[:, None, 1:, None], lambda np, x: x[:, None, 1:, None], MATRIX[:2]),
    "slice/of slices": Case(lambda x: x[1:, ::-1][:, 1::2] * 2, lambda np, x: x[1:, ::-1][:, 1::2] * 2,
                            (((4, 6),), ((2, 3),)), kinds="fi"),
    "slice/from and size": Case(lambda x: tf.slice(x, (1, 0, 1), (1, -1, 2)), lambda np, x: x[1:2, :, 1:3],
                                (((2, 3, 4),),)),
    "reverse": Case(lambda x: tf.reverse(x, (0, 2)), lambda np, x: x[::-1, :, ::-1], CUBE, kinds="fiub"),
    "pad": Case(lambda x: tf.pad(x, ((1, 2), (0, 3))), lambda np, x: np.pad(x, ((1, 2), (0, 3))), MATRIX,
                  kinds="fiub", exact=True),
    "pad/other fill": Case(lambda x: tf.pad(x, ((0, 1),), constant_values=7),
                             lambda np, x: np.pad(x, ((0, 1),), constant_values=7), (((3,),), ((0,),)), kinds="fiu"),
    "pad/steps": Case(lambda x: p.pad_strided(x, begin=(4, 1), shape=(5, 8), steps=(-2, 3)),
                        lambda np, x: np.placed(x, (5, 8), (slice(4, None, -2), slice(1, 8, 3))), (((3, 3),),),
                        kinds="fi"),
    "concat": Case(lambda x, y: tf.concat([x, y, x], 1), lambda np, x, y: np.concatenate([x, y, x], 1),
                   (((2, 3), (2, 1)), ((3, 0), (3, 2)), ((0, 2), (0, 3)), ((5, 7, 2), (5, 3, 2))), kinds="fiub",
                   exact=True),
    "concat/first": Case(lambda x, y: tf.concat([x, y + 1], 0), lambda np, x, y: np.concatenate([x, y + 1], 0),
                         (((2, 3), (4, 3)), ((0, 3), (2, 3)), ((1,), (6,))), kinds="fi"),
    "stack": Case(lambda x, y: tf.stack([x, y], 1), lambda np, x, y: np.stack([x, y], 1),
                  (((2, 3),) * 2, ((1, 0),) * 2), kinds="fiub"),
    "unstack": Case(lambda x: tf.unstack(x, axis=1), lambda np, x: [x[:, i] for i in range(3)], (((2, 3),),)),
    "split": Case(lambda x: tf.split(x, (1, 0, 2), 1), lambda np, x: [x[:, :1], x[:, :0], x[:, 1:]],
                  (((2, 3),), ((0, 3),)), kinds="fi"),
    "split/the rest": Case(lambda x: tf.split(x, (2, -1, 1)), lambda np, x: [x[:2], x[2:-1], x[-1:]], (((6, 2),), ((3,),)), kinds="fi"),
    "split/equal": Case(lambda x: tf.split(x, 3), lambda np, x: np.split(x, 3), (((6, 2),), ((3,),)), kinds="fi"),
    "expand_dims": Case(lambda x: tf.expand_dims(x, -2), lambda np, x: np.expand_dims(x, -2), MATRIX, kinds="fiub"),
    "squeeze": Case(lambda x: tf.squeeze(x, 1), lambda np, x: np.squeeze(x, 1), (((3, 1, 2),), ((1, 1),)), kinds="fi"),
    "tile": Case(lambda x: tf.tile(x, (2, 3)), lambda np, x: np.tile(x, (2, 3)), MATRIX, kinds="fiub"),
    "fill": Case(lambda x: tf.fill((2, 3), x) * tf.ones((3,), x.dtype), lambda np, x: np.full((2, 3), x), (((),),),
                 kinds="fi"),
    # ── picking ──
    "gather": Case(tf.gather, lambda np, x, i: x[i], (
        ((5, 3), Whole((4,), 0, 5)), ((7,), Whole((2, 3), 0, 7)), ((3, 2, 2), Whole((), 0, 3)),
        ((4, 3), Whole((0,), 0, 4)), ((4, 0), Whole((3,), 0, 4))), kinds="fiub", exact=True),
    "gather/axis": Case(lambda x, i: tf.gather(x, i, axis=1), lambda np, x, i: np.take(x, i, 1), (
        ((2, 5, 3), Whole((4,), 0, 5)), ((3, 4), Whole((2, 2), 0, 4))), kinds="fiu"),
    "gather/outside": Case(lambda x: tf.gather(x, [2, -1, 0, 9]), lambda np, x: x[np.array([2, 0, 0, 0])] * np.array(
        [[1], [0], [1], [0]], x.dtype), (((3, 2),), ((5, 7),)), kinds="fi"),
    "scatter_add": Case(lambda x, i: tf.math.unsorted_segment_sum(x, i, 4), lambda np, x, i: np.segment_sum(x, i, 4), (
        ((6, 3), Whole((6,), 0, 4)), ((7,), Whole((7,), -1, 6)), ((0, 2), Whole((0,), 0, 4))), kinds="fi"),
    "one_hot": Case(lambda i: tf.one_hot(i, 4), lambda np, i: np.one_hot(i, 4), (
        (Whole((5,), -1, 5),), (Whole((2, 3), 0, 4),), (Whole((), 0, 4),), (Whole((0,), 0, 4),))),
    "one_hot/first axis": Case(lambda i: tf.one_hot(i, 3, 5.0, -1.0, axis=0),
                               lambda np, i: np.one_hot(i, 3).T * 6 - 1, ((Whole((5,), -1, 3),),)),
    # ── products ──
    **{f"matmul{'/a transposed' * a}{'/b transposed' * b}": Case(
        lambda x, y, a=a, b=b: tf.matmul(x, y, a, b),
        lambda np, x, y, a=a, b=b: np.matmul(np.swapaxes(x, -1, -2) if a else x, np.swapaxes(y, -1, -2) if b else y),
        tuple((((*lead, k, m) if a else (*lead, m, k)), ((*lead, n, k) if b else (*lead, k, n)))
              for lead, m, k, n in (((), 3, 5, 2), ((2,), 3, 4, 5), ((), 1, 1, 1), ((), 0, 3, 2), ((), 3, 0, 2),
                                    ((), 17, 13, 19), ((2, 3), 4, 3, 1), ((), 1, 67, 33), ((), 65, 3, 1))))
       for a, b in product((False, True), repeat=2)},
    "matmul/rows of a batch": Case(tf.matmul, lambda np, x, y: np.matmul(x, y), (((2, 3, 4), (4, 5)),)),
    "matmul/broadcast": Case(tf.matmul, lambda np, x, y: np.matmul(x, y), (
        ((2, 1, 3, 4), (5, 4, 2)), ((3, 4), (2, 4, 5)), ((1, 3, 4), (2, 4, 5)))),
    "tensordot": Case(lambda x, y: tf.tensordot(x, y, ((0, 2), (1, 0))), lambda np, x, y: np.tensordot(
        x, y, ((0, 2), (1, 0))), (((2, 3, 4), (4, 2, 5)),)),
    "tensordot/1": Case(lambda x, y: tf.tensordot(x, y, 1), lambda np, x, y: np.tensordot(x, y, 1),
                        (((2, 3), (3,)), ((4,), (4,)))),
    # ── windows ──
    **{"conv2d" + f"/{name}" * (name != "plain"): conv(image, filters, **settings)
       for name, (image, filters, settings) in CONVOLUTIONS.items()},
    "depthwise_conv2d": Case(lambda x, w: nn.depthwise_conv2d(x, w, padding="SAME"), lambda np, x, w: np.conv2d(
        x, np.reshape(w, (3, 3, 1, 6)), padding="SAME"), (((1, 4, 5, 3), (3, 3, 3, 2)),)),
    "conv2d_input_grad": Case(lambda g, w: c.conv2d_input_grad(g, w, **SLID), lambda np, g, w:
                              np.conv2d_shares(np.zeros(SLID["image"]), w, g)[0], (((2, 3, 2, 3), (3, 2, 2, 3)),)),
    "conv2d_filter_grad": Case(lambda x, g: c.conv2d_filter_grad(x, g, **SLID), lambda np, x, g:
                               np.conv2d_shares(x, np.zeros(SLID["filter"]), g)[1], (((2, 5, 4, 2), (2, 3, 2, 3)),)),
    **{"max_pool" + f"/{name}" * (name != "plain"): pool("max_pool2d", *of) for name, of in POOLS.items()},
    **{"avg_pool" + f"/{name}" * (name != "plain"): pool("avg_pool2d", *of) for name, of in POOLS.items()},
    "max_pool_select": Case(lambda y, x: c.max_pool_select(y, x, **WINDOWS), lambda np, y, x:
                            np.max_pool_select(y, x), (((2, 5, 4, 3), (2, 5, 4, 3)),)),
    "max_pool_scatter": Case(lambda g, x: c.max_pool_scatter(g, x, **WINDOWS), lambda np, g, x:
                             np.max_pool_scatter(g, x), (((2, 3, 2, 3), (2, 5, 4, 3)),)),
    "avg_pool_grad": Case(lambda g: c.avg_pool_grad(g, **WINDOWS), lambda np, g: np.avg_pool_share(
        g, (2, 5, 4, 3)), (((2, 3, 2, 3),),)),
    # ── networks ──
    "relu6": Case(nn.relu6, lambda np, x: np.clip(x, 0, 6), ONE, -9, 9),
    "leaky_relu": Case(tf.nn.leaky_relu, lambda np, x: np.where(x > 0, x, 0.2 * x), ONE),
    "elu": Case(tf.nn.elu, lambda np, x: np.where(x > 0, x, np.expm1(x)), ONE),
    "silu": Case(tf.nn.silu, lambda np, x: x / (1 + np.exp(-x)), ONE),
    "gelu": Case(tf.nn.gelu, lambda np, x: x * 0.5 * (1 + np.erf(x / 2 ** 0.5)), ONE),
    "gelu/approximate": Case(lambda x: tf.nn.gelu(x, True), lambda np, x: x * 0.5 * (1 + np.tanh(
        0.7978845608028654 * (x + 0.044715 * x * x * x))), ONE),
    "softplus": Case(tf.nn.softplus, lambda np, x: np.log1p(np.exp(x)), ONE),
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
        ((Whole((3,), 0, 5), (3, 5)), (Whole((2, 3), 0, 5), (2, 3, 5)), (Whole((0,), 0, 5), (0, 5)))),
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
        lambda np, q, k, v, g, s, d, *m, a=a: np.attention_shares(q, k, v, g, s, d, *(x > 0 for x in m), scale=0.7, **a),
        tuple((*attention_shapes(*sizes), *attention_results(*sizes), *mask) for sizes, mask in masks))
       for name, a, masks in ATTENTIONS},
    "random_bits": Case(lambda i: c.random_bits(i, shape=(3, 7)), lambda np, i: np.philox(i, (3, 7)),
                        ((Whole((4,), -2**31, 2**31),),)),
    **ORDERS,
    **SUMS,
    **LAYERS,
    # ── loops ──
    **LOOPS,
}
