"""Elementwise functions and reductions of `tf` and `tf.math`, composed of primitives."""
from collections.abc import Callable
from functools import wraps
from inspect import signature

from ..base import dtypes, shapes
from ..base.errors import DTypeError, InvalidArgumentError
from ..base.tree import tree_map
from ..tensor import (
    PYTHON_OPERATORS, Tensor, Variable, as_tensor, context, context_stack, fetch_all, tapes_paused)
from . import primitives as p

add, subtract, multiply, divide = p.add, p.subtract, p.multiply, p.divide
negative, abs, sign, maximum, minimum = p.negative, p.abs_, p.sign, p.maximum, p.minimum
exp, expm1, log, log1p, sqrt, sigmoid, tanh, sin, cos, erf = (
    p.exp, p.expm1, p.log, p.log1p, p.sqrt, p.sigmoid, p.tanh, p.sin, p.cos, p.erf)
floor, ceil, round, floordiv, mod = p.floor, p.ceil, p.round_, p.floordiv, p.mod
equal, not_equal, less, less_equal, greater, greater_equal = (
    p.equal, p.not_equal, p.less, p.less_equal, p.greater, p.greater_equal)
identity, stop_gradient, is_nan, is_finite = p.identity, p.stop_gradient, p.is_nan, p.is_finite


def cast(x, dtype) -> Tensor:
    """`x` converted to another dtype. Floats truncate and NaN becomes 0; uint8 wraps around."""
    x, dtype = as_tensor(x), dtypes.as_dtype(dtype)
    return x if x.dtype is dtype else p.cast(x, dtype=dtype)


def truediv(x, y) -> Tensor:
    """`x / y`; integers and bools are converted to float32."""
    x, y = (
        cast(v, dtypes.float32)
        if isinstance(v, (Tensor, Variable)) and not v.dtype.is_floating
        else v
        for v in (x, y)
    )
    if isinstance(x, int) and isinstance(y, int):
        x = float(x)
    return p.divide(x, y)


def pow(x, y) -> Tensor:
    """`x ** y`, elementwise; integer powers wrap around.

    A negative exponent of an integer raises InvalidArgumentError. Where the exponent is a symbolic
    tensor of tf.function, the power is truncated to an integer instead: 1, -1 or 0.

    >>> tf.pow(tf.constant([2, 3]), tf.constant([10, 4])).numpy()
    array([1024,   81], dtype=int32)
    """
    is_floating = isinstance(x, float) or not isinstance(x, int) and as_tensor(x).dtype.is_floating
    if isinstance(y, (int, float) if is_floating else int) and y in (1, 2, 3, 4):
        return _power_by_multiplication(as_tensor(x), int(y))
    if not is_floating and not isinstance(y, float):
        _require_nonnegative_exponent(as_tensor(y))
    return p.pow_(x, y)


def _require_nonnegative_exponent(y: Tensor) -> None:
    extrema = known_extrema(y) if y.dtype is dtypes.int32 else None
    if extrema is not None and extrema[0] < 0:
        raise InvalidArgumentError("pow", f"the exponent {extrema[0]} of an integer is negative",
                                   "use tf.cast(x, tf.float32)")


def known_extrema(x: Tensor) -> tuple[int, int] | None:
    """(smallest, largest) element of integers; None for no elements and for a symbolic tensor."""
    if x.symbolic or not x.spec.count:
        return None
    if not x.shape:
        return (x.item(),) * 2
    with tapes_paused(), context(context_stack()[0]):
        low, high = fetch_all([reduce_min(x), reduce_max(x)])
    return low.item(), high.item()


def _power_by_multiplication(x: Tensor, n: int) -> Tensor:
    if n == 1:
        return x
    half = _power_by_multiplication(x, n // 2)
    return half * half * x if n % 2 else half * half


def square(x) -> Tensor:
    x = as_tensor(x)
    return x * x


def squared_difference(x, y) -> Tensor:
    return square(p.subtract(x, y))


def divide_no_nan(x, y) -> Tensor:
    """`x / y`, and 0 where `y` is 0."""
    y = as_tensor(y, None if isinstance(y, (Tensor, Variable)) else getattr(x, "dtype", None))
    is_zero = p.equal(y, as_tensor(0, y.dtype))
    one, zero = as_tensor(1, y.dtype), as_tensor(0, y.dtype)
    return where(is_zero, zero, truediv(x, where(is_zero, one, y)))


def rsqrt(x) -> Tensor:
    return 1.0 / p.sqrt(x)


def reciprocal(x) -> Tensor:
    return 1.0 / as_tensor(x)


def where(condition, x, y) -> Tensor:
    """`x` where the bool `condition` is True, else `y`; all three broadcast."""
    return p.select(condition, x, y)


def clip_by_value(x, clip_value_min, clip_value_max) -> Tensor:
    return p.minimum(p.maximum(x, clip_value_min), clip_value_max)


def logical_and(x, y) -> Tensor:
    return p.bitwise_and(_require_bool("logical_and", x), _require_bool("logical_and", y))


def logical_or(x, y) -> Tensor:
    return p.bitwise_or(_require_bool("logical_or", x), _require_bool("logical_or", y))


def logical_xor(x, y) -> Tensor:
    return p.bitwise_xor(_require_bool("logical_xor", x), _require_bool("logical_xor", y))


def logical_not(x) -> Tensor:
    return p.invert(_require_bool("logical_not", x))


def _require_bool(op: str, x) -> Tensor:
    x = as_tensor(x)
    if not x.dtype.is_bool:
        raise InvalidArgumentError(
            op, f"{x.dtype} is not supported, only bool", "compare first, or use tf.bitwise"
        )
    return x


def compute_in_float32(f: Callable) -> Callable:
    """Decorator: compute a float16 argument in float32, and cast the results back to float16.

    It is for functions with intermediate sums or exponentials that would overflow float16.
    """
    first = next(iter(signature(f).parameters))

    @wraps(f)
    def wrapped(*args, **kwargs):
        x = as_tensor(args[0] if args else kwargs.pop(first, None))
        if x.dtype is not dtypes.float16:
            return f(x, *args[1:], **kwargs)
        outs = f(p.cast(x, dtype=dtypes.float32), *args[1:], **kwargs)
        return tree_map(lambda out: p.cast(out, dtype=dtypes.float16), outs)

    return wrapped


# ── reductions ────────────────────────────────────────────────────────────────────────────────


def apply_reduction(op: str, reduce, x, axis, keepdims: bool) -> Tensor:
    """Apply a reduction primitive with TensorFlow's `axis` and `keepdims`."""
    x = as_tensor(x)
    axes = shapes.normalize_axes(op, axis, x.ndim)
    out = reduce(x, axes=axes) if axes else x
    return p.reshape(out, shape=shapes.keepdims_shape(tuple(x.shape), axes)) if keepdims else out


def reduce_sum(input_tensor, axis=None, keepdims=False) -> Tensor:
    """The sum over `axis` (None: over all axes)."""
    return apply_reduction("reduce_sum", p.reduce_sum, input_tensor, axis, keepdims)


def reduce_max(input_tensor, axis=None, keepdims=False) -> Tensor:
    return apply_reduction("reduce_max", p.reduce_max, input_tensor, axis, keepdims)


def reduce_min(input_tensor, axis=None, keepdims=False) -> Tensor:
    return apply_reduction("reduce_min", p.reduce_min, input_tensor, axis, keepdims)


@compute_in_float32
def reduce_mean(input_tensor, axis=None, keepdims=False) -> Tensor:
    """The mean over `axis`. It is NaN for no elements.

    The mean of integers is exact, truncated towards 0, and 0 for no elements.

    >>> int(tf.reduce_mean(tf.constant([-3, -4])))
    -3
    """
    x = as_tensor(input_tensor)
    axes = shapes.normalize_axes("reduce_mean", axis, x.ndim)
    count = shapes.num_elements(tuple(x.shape[a] for a in axes))
    if x.dtype.is_integer:
        return cast(_integer_mean(cast(x, dtypes.int32), axes, count, keepdims), x.dtype)
    return reduce_sum(x, axis=axes, keepdims=keepdims) / float(count)


def _integer_mean(x: Tensor, axes, count: int, keepdims: bool) -> Tensor:
    """The mean of int32 elements without a sum that overflows.

    Each element is q * count + r with 0 <= r < count, so the mean is sum(q) plus sum(r) / count.
    sum(q) fits into int32; r is split into digits whose sums do, and the digit sums are divided by
    `count` by long division, the most significant digit first.
    """
    quotients = p.floordiv(x, max(count, 1))
    mean = reduce_sum(quotients, axes, keepdims)
    if count < 2:
        return mean
    remainders = x - quotients * count
    bits = max(30 - count.bit_length(), 1)          # count * 2 ** (bits + 1) is below 2 ** 31
    digits = -(-(count - 1).bit_length() // bits)
    quotient = remainder = None
    for i in reversed(range(digits)):
        digit = p.bitwise_and(p.right_shift(remainders, i * bits), (1 << bits) - 1)
        total = reduce_sum(digit, axes, keepdims)
        total = total if remainder is None else total + remainder * (1 << bits)
        high = p.floordiv(total, count)
        remainder = total - high * count
        quotient = high if quotient is None else quotient * (1 << bits) + high
    mean = mean + quotient
    is_rounded_down = p.bitwise_and(p.less(mean, 0), p.not_equal(remainder, 0))
    return mean + cast(is_rounded_down, dtypes.int32)


@compute_in_float32
def reduce_variance(input_tensor, axis=None, keepdims=False) -> Tensor:
    """The population variance of a floating tensor over `axis`."""
    x = require_floating("reduce_variance", input_tensor)
    return reduce_mean(square(x - reduce_mean(x, axis, True)), axis, keepdims)


@compute_in_float32
def reduce_std(input_tensor, axis=None, keepdims=False) -> Tensor:
    """The population standard deviation of a floating tensor over `axis`."""
    x = require_floating("reduce_std", input_tensor)
    return p.sqrt(reduce_variance(x, axis, keepdims))


def require_floating(op: str, x) -> Tensor:
    """Convert to a Tensor; raises DTypeError for integers and bools."""
    x = as_tensor(x)
    if not x.dtype.is_floating:
        raise DTypeError(op, f"{x.dtype} is not supported", "use tf.cast to float32")
    return x


def reduce_any(input_tensor, axis=None, keepdims=False) -> Tensor:
    ones = cast(_require_bool("reduce_any", input_tensor), dtypes.int32)
    return p.greater(reduce_max(ones, axis, keepdims), 0)


def reduce_all(input_tensor, axis=None, keepdims=False) -> Tensor:
    ones = cast(_require_bool("reduce_all", input_tensor), dtypes.int32)
    return p.greater(reduce_min(ones, axis, keepdims), 0)


@compute_in_float32
def reduce_logsumexp(input_tensor, axis=None, keepdims=False) -> Tensor:
    """log(sum(exp(x))), without overflow, because the maximum is subtracted first."""
    x = as_tensor(input_tensor)
    maximum = p.stop_gradient(reduce_max(x, axis, keepdims=True))
    maximum = where(is_finite(maximum), maximum, 0.0)
    out = p.log(reduce_sum(p.exp(x - maximum), axis, keepdims=True)) + maximum
    axes = shapes.normalize_axes("reduce_logsumexp", axis, x.ndim)
    return out if keepdims else p.reshape(out, shape=shapes.remove_axes(tuple(x.shape), axes))


def _arg_extremum(op: str, reduce, input, axis, output_type) -> Tensor:
    x = as_tensor(input)
    axis = shapes.normalize_axis(op, axis, x.ndim)
    n = x.shape[axis]
    if n == 0:
        raise InvalidArgumentError(op, f"axis {axis} of shape {tuple(x.shape)} is empty",
                                   "use an axis with at least one element")
    if x.dtype.is_bool:
        x = cast(x, dtypes.uint8)
    is_extremum = p.equal(x, reduce(x, axis, keepdims=True))
    if x.dtype.is_floating:
        is_extremum = p.bitwise_or(is_extremum, p.is_nan(x))   # a NaN makes the extremum NaN
    indices = where(is_extremum, p.iota(shape=tuple(x.shape), axis=axis), n - 1)
    return cast(reduce_min(indices, axis), output_type)


def argmax(input, axis=0, output_type=dtypes.int32) -> Tensor:
    """The index of the largest element along `axis`; of several equal ones the first.

    As in NumPy and JAX, NaN is the extremum: the result is the index of the first NaN, where
    `reduce_max` is NaN. TensorFlow's kernels and its compiler differ here from each other.

    >>> int(tf.argmax([3.0, float("nan"), 1.0]))
    1
    """
    return _arg_extremum("argmax", reduce_max, input, axis, output_type)


def argmin(input, axis=0, output_type=dtypes.int32) -> Tensor:
    """The index of the smallest element along `axis`, or of the first NaN, as for `argmax`."""
    return _arg_extremum("argmin", reduce_min, input, axis, output_type)


def add_n(inputs) -> Tensor:
    """The sum of several tensors of the same shape."""
    if not inputs:
        raise InvalidArgumentError("add_n", "there are no tensors", "pass at least one tensor")
    total = as_tensor(inputs[0])
    for x in inputs[1:]:
        total = total + x
    return total


PYTHON_OPERATORS.update(
    {
        "add": p.add,
        "subtract": p.subtract,
        "multiply": p.multiply,
        "divide": truediv,
        "floordiv": p.floordiv,
        "mod": p.mod,
        "pow": pow,
        "negative": p.negative,
        "abs": p.abs_,
        "invert": p.invert,
        "and": p.bitwise_and,
        "or": p.bitwise_or,
        "xor": p.bitwise_xor,
        "less": p.less,
        "less_equal": p.less_equal,
        "greater": p.greater,
        "greater_equal": p.greater_equal,
        "equal": p.equal,
        "not_equal": p.not_equal,
    }
)
