"""`tf.nn`: activations, losses, dropout, convolution and pooling, composed of primitives."""
from math import nan, sqrt

from ..base import shapes
from ..base.errors import DTypeError, InvalidArgumentError
from ..tensor import Tensor, as_tensor
from . import indexing, math, normalization, sorting
from . import kernel_primitives as kp
from . import primitives as p
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
    """x * Phi(x) with the normal distribution function Phi, by erf, or by tanh if `approximate`.

    Source: Hendrycks and Gimpel, 2016, arXiv:1606.08415.
    """
    x = as_tensor(features)
    if approximate:
        # (1 + tanh(y)) / 2 is sigmoid(2 y), which is cheaper, and accurate for small results.
        return x * p.sigmoid(x * (x * x * 0.07135481627260025 + 1.5957691216057308))
    return x * 0.5 * (p.erf(x * (1 / sqrt(2))) + 1.0)


def softplus(features) -> Tensor:
    """log(1 + exp(x)), without overflow."""
    x = as_tensor(features)
    # One condition for both terms: with max and abs, the derivative at 0 would not be 1/2.
    positive = p.greater_equal(x, 0.0)
    return math.where(positive, x, 0.0) + p.log1p(p.exp(math.where(positive, -x, x)))


@math.compute_in_float32
def softmax(logits, axis=-1) -> Tensor:
    x = as_tensor(logits)
    e = p.exp(x - p.stop_gradient(math.reduce_max(x, axis, keepdims=True)))
    # One division per row. The sum is at least 1, so its reciprocal is accurate.
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
    """The cross entropy of class indices `labels` (...) and `logits` (..., classes).

    A label outside of [0, classes) raises InvalidArgumentError. Where the labels are a symbolic
    tensor of tf.function, its loss and the gradient of its logits are NaN instead, as for
    TensorFlow on a GPU.

    >>> loss = tf.nn.sparse_softmax_cross_entropy_with_logits([1], [[0.0, 0.0]])
    >>> round(float(loss[0]), 4)
    0.6931
    """
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
    indexing.require_class_indices(
        "sparse_softmax_cross_entropy_with_logits", labels, logits.shape[-1])
    return _sparse_cross_entropy(logits, labels)


@math.compute_in_float32
def _sparse_cross_entropy(logits, labels) -> Tensor:
    """log(sum(exp(x))) - x[label]; a logit -inf of another class does not make it NaN."""
    x = as_tensor(logits)
    one, zero = as_tensor(1.0, x.dtype), as_tensor(0.0, x.dtype)
    is_label = indexing.one_hot_mask(labels, x.shape[-1])
    # A reduction, not a comparison of the labels, so that it is fused with the row.
    has_label = p.greater(math.reduce_sum(math.where(is_label, one, zero), -1, keepdims=True), zero)
    shifted = x - p.stop_gradient(math.reduce_max(x, -1, keepdims=True))
    log_sum = p.log(math.reduce_sum(p.exp(shifted), -1, keepdims=True))
    # Without a label, the cotangent of log_sum is 0, and the factor NaN makes it NaN.
    log_sum = log_sum * math.where(has_label, one, nan)
    losses = math.where(is_label, log_sum - shifted, math.where(has_label, zero, nan))
    return math.reduce_sum(losses, -1)


def sigmoid_cross_entropy_with_logits(labels, logits) -> Tensor:
    """-z * log(sigmoid(x)) - (1 - z) * log(1 - sigmoid(x)), for labels z and logits x.

    Value and gradient are accurate and without overflow: the loss is log(1 + exp(-abs(x))) plus
    (1 - z) * x for x >= 0, or -z * x for x < 0. So the gradient at z = 1 and a large x is
    -sigmoid(-x), without the cancellation of sigmoid(x) - 1.
    """
    z, x = as_tensor(labels), as_tensor(logits)
    positive = p.greater_equal(x, 0.0)
    linear = x * math.where(positive, 1.0 - z, -z)
    return linear + p.log1p(p.exp(math.where(positive, -x, x)))


def bias_add(value, bias) -> Tensor:
    value, bias = as_tensor(value), as_tensor(bias)
    if bias.ndim != 1 or bias.shape[0] != value.shape[-1]:
        raise InvalidArgumentError(
            "bias_add",
            f"bias {tuple(bias.shape)} does not match {tuple(value.shape)}",
            f"it must have shape ({value.shape[-1]},)",
        )
    return value + bias


@math.compute_in_float32
def l2_normalize(x, axis=None, epsilon=1e-12) -> Tensor:
    x = as_tensor(x)
    return x * math.rsqrt(p.maximum(math.reduce_sum(x * x, axis, keepdims=True), epsilon))


def dropout(x, rate: float) -> Tensor:
    """Set elements to 0 with probability `rate`, and scale the others by 1 / (1 - rate)."""
    x = as_tensor(x)
    if not 0 <= rate < 1:
        raise InvalidArgumentError("dropout", f"rate is {rate}", "use a rate in the range [0, 1)")
    keep = p.greater_equal(uniform(tuple(x.shape)), float(rate))
    return math.where(keep, x * (1.0 / (1.0 - rate)), 0.0)


# ── convolution and pooling ───────────────────────────────────────────────────────────────────


def _as_pair(op: str, name: str, value) -> tuple[int, int]:
    """(height, width) from an int, a pair, or TensorFlow's form (1, height, width, 1)."""
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) == 4 and pair[0] == pair[3] == 1:
        pair = pair[1:3]
    if len(pair) == 1:
        pair = pair * 2
    if len(pair) != 2 or not all(isinstance(n, int) and n >= 1 for n in pair):
        raise InvalidArgumentError(
            op,
            f"{name} {value!r} is not one or two positive ints",
            f"for example {name}=1 or {name}=(2, 2)",
        )
    return pair


def _require_nhwc(op: str, x) -> Tensor:
    x = as_tensor(x)
    if x.ndim != 4:
        raise InvalidArgumentError(op, f"the input has shape {tuple(x.shape)}",
                                   "it must be (batch, height, width, channels)")
    if not x.dtype.is_floating:
        raise DTypeError(op, f"{x.dtype} is not supported", "use tf.cast to float32")
    return x


def _output_size_and_padding(op: str, shape, window, strides, dilations, padding: str):
    """((output height, width), (top, left) padding)."""
    padding = padding.upper() if isinstance(padding, str) else padding
    sizes = [
        shapes.window_output_size(op, n, k, s, d, padding)
        for n, k, s, d in zip(shape[1:3], window, strides, dilations)
    ]
    return tuple(out for out, _ in sizes), tuple(before for _, before in sizes)


def conv2d(input, filters, strides=1, padding="VALID", dilations=1) -> Tensor:
    """2-D convolution of images (n, h, w, c) with filters (kh, kw, c / groups, co).

    As in TensorFlow, the third axis of the filters determines the number of groups.
    """
    x, w = _require_nhwc("conv2d", input), as_tensor(filters)
    if w.ndim != 4:
        raise InvalidArgumentError("conv2d", f"the filter has shape {tuple(w.shape)}",
                                   "it must be (height, width, channels in, channels out)")
    c_in, c_filter, c_out = x.shape[3], w.shape[2], w.shape[3]
    groups = c_in // c_filter if c_filter else 0
    if groups * c_filter != c_in or groups < 1 or c_out % groups:
        raise InvalidArgumentError(
            "conv2d",
            f"input {tuple(x.shape)} and filter {tuple(w.shape)} differ in channels",
            f"the third size of the filter must be {c_in}, or {c_in} / groups where groups divides "
            "the last size",
        )
    strides, dilations = (
        _as_pair("conv2d", "strides", strides),
        _as_pair("conv2d", "dilations", dilations),
    )
    window = w.shape[:2]
    out, pads = _output_size_and_padding("conv2d", x.shape, window, strides, dilations, padding)
    return kp.conv2d(
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
    """2-D convolution of each channel with separate filters (kh, kw, c, multiplier).

    The result has c * multiplier channels.
    """
    x, w = _require_nhwc("depthwise_conv2d", input), as_tensor(filter)
    if w.ndim != 4 or w.shape[2] != x.shape[3]:
        raise InvalidArgumentError(
            "depthwise_conv2d",
            f"filter {tuple(w.shape)} does not match input {tuple(x.shape)}",
            f"it must be (height, width, {x.shape[3]}, multiplier)",
        )
    kh, kw, channels, multiplier = w.shape
    grouped = p.reshape(w, shape=(kh, kw, 1, channels * multiplier))
    return conv2d(x, grouped, strides, padding, dilations)


def conv2d_transpose(input, filters, output_shape, strides, padding="SAME",
                     dilations=1) -> Tensor:
    """The transpose (the input gradient) of `conv2d`.

    `input` is (n, h, w, c) and `filters` are (kh, kw, co, c). The result has `output_shape`
    (n, H, W, co), which must be a shape for which `conv2d` results in size (h, w).
    """
    op = "conv2d_transpose"
    x, w = _require_nhwc(op, input), as_tensor(filters)
    if w.ndim != 4 or w.shape[3] != x.shape[3]:
        raise InvalidArgumentError(
            op, f"filter {tuple(w.shape)} does not match input {tuple(x.shape)}",
            f"it must be (height, width, channels out, {x.shape[3]})")
    image = tuple(as_tensor(output_shape).tolist())
    strides, dilations = _as_pair(op, "strides", strides), _as_pair(op, "dilations", dilations)
    if len(image) != 4 or image[0] != x.shape[0] or image[3] != w.shape[2]:
        raise InvalidArgumentError(op, f"output_shape is {image}", "it must be "
                                   f"({x.shape[0]}, height, width, {w.shape[2]})")
    out, pads = _output_size_and_padding(op, image, w.shape[:2], strides, dilations, padding)
    if out != tuple(x.shape[1:3]):
        raise InvalidArgumentError(
            op, f"a convolution of output_shape {image} has size {out}, but the input has size "
            f"{tuple(x.shape[1:3])}", f"choose an output_shape that matches strides {strides}")
    return kp.conv2d_input_grad(x, w, image=image, filter=tuple(w.shape), result=tuple(x.shape),
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
    """The maximum of each window of images (n, h, w, c), without padding elements."""
    return _pool("max_pool2d", kp.max_pool, input, ksize, strides, padding)


def avg_pool2d(input, ksize, strides=None, padding="VALID") -> Tensor:
    """The mean of each window of images (n, h, w, c), without padding elements."""
    return _pool("avg_pool2d", kp.avg_pool, input, ksize, strides, padding)


max_pool, avg_pool = max_pool2d, avg_pool2d
