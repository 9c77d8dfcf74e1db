"""`tf.nn`: activations, losses, convolution and pooling, as functions of the primitives."""
from math import sqrt

from ..base import shapes
from ..base.errors import DTypeError, InvalidArgumentError
from ..tensor import Tensor, as_tensor
from . import kernel_primitives as c
from . import math
from . import primitives as p
from . import indexing, normalization, sorting
from .indexing import one_hot
from .random import uniform

relu, tanh, sigmoid = p.relu, p.tanh, p.sigmoid
embedding_lookup, in_top_k, top_k = indexing.embedding_lookup, sorting.in_top_k, sorting.top_k
moments, batch_normalization = normalization.moments, normalization.batch_normalization


def relu6(features) -> Tensor:
    return p.minimum(p.relu(features), 6.0)


def leaky_relu(features, alpha=0.2) -> Tensor:
    x = as_tensor(features)
    return math.where(p.greater(x, 0.0), x, x * alpha)


def elu(features, alpha=1.0) -> Tensor:
    x = as_tensor(features)
    return math.where(p.greater(x, 0.0), x, p.expm1(p.minimum(x, 0.0)) * alpha)


def silu(features) -> Tensor:
    x = as_tensor(features)
    return x * sigmoid(x)


def gelu(features, approximate=False) -> Tensor:
    """x * Phi(x), with the normal distribution's Phi through erf, or through tanh if approximate
    (Hendrycks and Gimpel, 2016, arXiv:1606.08415)."""
    x = as_tensor(features)
    if approximate:
        # (1 + tanh(y)) / 2 is sigmoid(2 y), which takes fewer instructions and keeps small results.
        return x * p.sigmoid(x * (x * x * 0.07135481627260025 + 1.5957691216057308))
    return x * 0.5 * (p.erf(x * (1 / sqrt(2))) + 1.0)


def softplus(features) -> Tensor:
    """log(1 + exp(x)), without overflow."""
    top, rest = _softplus_parts(as_tensor(features))
    return top + rest


def _softplus_parts(x: Tensor) -> tuple[Tensor, Tensor]:
    """max(x, 0), and what log(1 + exp(x)) is above it."""
    # One condition for both: with max and abs the slope at 0 would not be one half.
    positive = p.greater_equal(x, 0.0)
    return math.where(positive, x, 0.0), p.log1p(p.exp(math.where(positive, -x, x)))


@math.compute_in_float32
def softmax(logits, axis=-1) -> Tensor:
    x = as_tensor(logits)
    e = p.exp(x - p.stop_gradient(math.reduce_max(x, axis, keepdims=True)))
    # One division a row: the sum is at least 1, so that its inverse is as good.
    return e * (1.0 / math.reduce_sum(e, axis, keepdims=True))


@math.compute_in_float32
def log_softmax(logits, axis=-1) -> Tensor:
    x = as_tensor(logits)
    shifted = x - p.stop_gradient(math.reduce_max(x, axis, keepdims=True))
    return shifted - p.log(math.reduce_sum(p.exp(shifted), axis, keepdims=True))


def softmax_cross_entropy_with_logits(labels, logits, axis=-1) -> Tensor:
    """-sum(labels * log softmax(logits)) along `axis`."""
    return -math.reduce_sum(as_tensor(labels) * log_softmax(logits, axis), axis)


def sparse_softmax_cross_entropy_with_logits(labels, logits) -> Tensor:
    """Cross entropy of class indices `labels` (...), int32, with `logits` (..., classes)."""
    labels, logits = as_tensor(labels), as_tensor(logits)
    if not labels.dtype.is_integer:
        raise DTypeError("sparse_softmax_cross_entropy_with_logits", f"labels are {labels.dtype}",
                         "they must be class indices; use tf.cast(labels, tf.int32)")
    if tuple(labels.shape) != tuple(logits.shape[:-1]):
        raise InvalidArgumentError(
            "sparse_softmax_cross_entropy_with_logits",
            f"labels {tuple(labels.shape)} do not match logits {tuple(logits.shape)}",
            f"labels must have shape {tuple(logits.shape[:-1])}",
        )
    return softmax_cross_entropy_with_logits(
        one_hot(labels, logits.shape[-1], dtype=logits.dtype), logits
    )


def sigmoid_cross_entropy_with_logits(labels, logits) -> Tensor:
    """max(x, 0) - x * z + log(1 + exp(-abs(x))), which does not overflow."""
    z, x = as_tensor(labels), as_tensor(logits)
    top, rest = _softplus_parts(x)
    return top - x * z + rest


def bias_add(value, bias) -> Tensor:
    value, bias = as_tensor(value), as_tensor(bias)
    if bias.ndim != 1 or bias.shape[0] != value.shape[-1]:
        raise InvalidArgumentError(
            "bias_add",
            f"bias {tuple(bias.shape)} does not fit {tuple(value.shape)}",
            f"it must have shape ({value.shape[-1]},)",
        )
    return value + bias


@math.compute_in_float32
def l2_normalize(x, axis=None, epsilon=1e-12) -> Tensor:
    x = as_tensor(x)
    return x * math.rsqrt(p.maximum(math.reduce_sum(x * x, axis, keepdims=True), epsilon))


def dropout(x, rate: float) -> Tensor:
    """Each element 0 with probability `rate`, the others scaled up by 1 / (1 - rate)."""
    x = as_tensor(x)
    if not 0 <= rate < 1:
        raise InvalidArgumentError("dropout", f"rate is {rate}", "use a rate of 0 or more, below 1")
    keep = p.greater_equal(uniform(tuple(x.shape)), float(rate))
    return math.where(keep, x * (1.0 / (1.0 - rate)), 0.0)


# ── windows ───────────────────────────────────────────────────────────────────────────────────


def _as_pair(op: str, name: str, value) -> tuple[int, int]:
    """An int, or one for rows and one for columns; TensorFlow's four-element form too."""
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) == 4 and pair[0] == pair[3] == 1:
        pair = pair[1:3]
    if len(pair) == 1:
        pair = pair * 2
    if len(pair) != 2 or not all(isinstance(n, int) and n >= 1 for n in pair):
        raise InvalidArgumentError(
            op,
            f"{name} {value!r} is not one or two whole numbers of 1 or more",
            f"for example {name}=1 or {name}=(2, 2)",
        )
    return pair


def _require_nhwc(op: str, x) -> Tensor:
    x = as_tensor(x)
    if x.ndim != 4:
        raise InvalidArgumentError(op, f"the input has shape {tuple(x.shape)}",
                                   "it must be (batch, height, width, channels)")
    if not x.dtype.is_floating:
        raise DTypeError(op, f"it is not defined for {x.dtype}", "use tf.cast to float32")
    return x


def _output_size_and_padding(op: str, shape, window, strides, dilations, padding: str):
    """((output height, width), (rows padded above, columns to the left))."""
    sides = [
        shapes.window_output_size(op, n, k, s, d, padding.upper() if isinstance(padding, str) else padding)
        for n, k, s, d in zip(shape[1:3], window, strides, dilations)
    ]
    return tuple(out for out, _ in sides), tuple(before for _, before in sides)


def conv2d(input, filters, strides=1, padding="VALID", dilations=1) -> Tensor:
    """Convolution of (n, h, w, c) with (kh, kw, c / groups, co); the filter's third axis tells the
    groups, as in TensorFlow."""
    x, w = _require_nhwc("conv2d", input), as_tensor(filters)
    if w.ndim != 4:
        raise InvalidArgumentError("conv2d", f"the filter has shape {tuple(w.shape)}",
                                   "it must be (height, width, channels in, channels out)")
    c_in, c_filter, c_out = x.shape[3], w.shape[2], w.shape[3]
    groups = c_in // c_filter if c_filter else 0
    if groups * c_filter != c_in or groups < 1 or c_out % groups:
        raise InvalidArgumentError(
            "conv2d",
            f"{c_in} channels of input {tuple(x.shape)} meet filter {tuple(w.shape)}",
            f"its third size must be {c_in}, or divide it into groups that also divide the last",
        )
    strides, dilations = (
        _as_pair("conv2d", "strides", strides),
        _as_pair("conv2d", "dilations", dilations),
    )
    out, pads = _output_size_and_padding("conv2d", x.shape, w.shape[:2], strides, dilations, padding)
    return c.conv2d(
        x,
        w,
        image=tuple(x.shape),
        filter=tuple(w.shape),
        result=(x.shape[0], *out, c_out),
        strides=strides,
        dilations=dilations,
        pads=pads,
        groups=groups,
    )


def depthwise_conv2d(input, filter, strides=1, padding="VALID", dilations=1) -> Tensor:
    """Each channel with its own filters: (kh, kw, c, multiplier) gives c * multiplier channels."""
    x, w = _require_nhwc("depthwise_conv2d", input), as_tensor(filter)
    if w.ndim != 4 or w.shape[2] != x.shape[3]:
        raise InvalidArgumentError(
            "depthwise_conv2d",
            f"filter {tuple(w.shape)} meets input {tuple(x.shape)}",
            f"it must be (height, width, {x.shape[3]}, multiplier)",
        )
    kh, kw, channels, multiplier = w.shape
    grouped = p.reshape(w, shape=(kh, kw, 1, channels * multiplier))
    return conv2d(x, grouped, strides, padding, dilations)


def conv2d_transpose(input, filters, output_shape, strides, padding="SAME",
                     dilations=1) -> Tensor:
    """The gradient of `conv2d` in its image, as an operation of its own: (n, h, w, c) with
    (kh, kw, co, c) gives `output_shape`, (n, H, W, co), of which a convolution gives (n, h, w)."""
    op = "conv2d_transpose"
    x, w = _require_nhwc(op, input), as_tensor(filters)
    if w.ndim != 4 or w.shape[3] != x.shape[3]:
        raise InvalidArgumentError(op, f"filter {tuple(w.shape)} meets input {tuple(x.shape)}",
                                   f"it must be (height, width, channels out, {x.shape[3]})")
    whole = tuple(as_tensor(output_shape).tolist())
    strides, dilations = _as_pair(op, "strides", strides), _as_pair(op, "dilations", dilations)
    if len(whole) != 4 or whole[0] != x.shape[0] or whole[3] != w.shape[2]:
        raise InvalidArgumentError(op, f"output_shape is {whole}", "it must be "
                                   f"({x.shape[0]}, height, width, {w.shape[2]})")
    out, pads = _output_size_and_padding(op, whole, w.shape[:2], strides, dilations, padding)
    if out != tuple(x.shape[1:3]):
        raise InvalidArgumentError(
            op, f"a convolution makes {out} of output_shape {whole}, the input is "
            f"{tuple(x.shape[1:3])}", f"with strides {strides} choose a size that gives it")
    return c.conv2d_input_grad(x, w, image=whole, filter=tuple(w.shape), result=tuple(x.shape),
                               strides=strides, dilations=dilations, pads=pads, groups=1)


def _pool(op: str, primitive, input, ksize, strides, padding) -> Tensor:
    x = _require_nhwc(op, input)
    window, strides = (
        _as_pair(op, "ksize", ksize),
        _as_pair(op, "strides", ksize if strides is None else strides),
    )
    out, pads = _output_size_and_padding(op, x.shape, window, strides, (1, 1), padding)
    return primitive(x, image=tuple(x.shape), result=(x.shape[0], *out, x.shape[3]), window=window,
                     strides=strides, pads=pads)


def max_pool2d(input, ksize, strides=None, padding="VALID") -> Tensor:
    """The maximum of each window of (n, h, w, c); padding never wins."""
    return _pool("max_pool2d", c.max_pool, input, ksize, strides, padding)


def avg_pool2d(input, ksize, strides=None, padding="VALID") -> Tensor:
    """The mean of each window of (n, h, w, c); padding is not counted."""
    return _pool("avg_pool2d", c.avg_pool, input, ksize, strides, padding)


max_pool, avg_pool = max_pool2d, avg_pool2d
