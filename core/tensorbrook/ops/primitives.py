"""The primitives of kind elementwise, iota, reduce, view and assemble, one block each.

A vjp receives the cotangent `g` of the result, the result and the operands, and returns the
cotangent of each operand, or None. A reference implementation receives the numpy module first.
backends/wasm/math_library.py lists the functions that scalar expressions may call.
"""
from math import erf as math_erf, pi, sqrt as math_sqrt

from ..base import dtypes, shapes
from ..base.errors import DTypeError, InvalidArgumentError
from ..base.views import View
from ..ir import TensorSpec
from .registration import broadcast_reduced, elementwise, primitive, reduction, sum_to_shape

# ── arithmetic ────────────────────────────────────────────────────────────────────────────────

add = elementwise("add", "x + y", lambda np, x, y: x + y, lambda g, out, x, y: (g, g), "fiu")

subtract = elementwise(
    "subtract", "x - y", lambda np, x, y: x - y, lambda g, out, x, y: (g, -g), "fiu"
)

multiply = elementwise("multiply", "x * y", lambda np, x, y: x * y,
                       lambda g, out, x, y: (g * y, g * x), "fiu")

divide = elementwise("divide", "x / y", lambda np, x, y: x / y,
                     lambda g, out, x, y: (g / y, -(g * out) / y), "f")


def _floordiv(np, x, y):
    """Integer division by zero results in 0, because no backend may trap."""
    return (
        np.floor(x / y) if x.dtype.kind == "f" else np.where(y == 0, 0, x // np.where(y == 0, 1, y))
    )


floordiv = elementwise(
    "floordiv", "floordiv(x, y)", _floordiv, lambda g, out, x, y: (None, None), "fiu"
)



def _mod(np, x, y):
    """The exact remainder of C's fmod, moved to the sign of y; 0 for integers modulo 0."""
    if x.dtype.kind != "f":
        return np.where(y == 0, 0, x % np.where(y == 0, 1, y))
    out = np.fmod(x, y)
    return np.where((out != 0) & ((out < 0) != (y < 0)), out + y, out)


# A primitive because x - floordiv(x, y) * y cancels: the quotient is rounded. In the derivative,
# (x - out) / y is the exact quotient but for rounding.
mod = elementwise("mod", "mod(x, y)", _mod,
                  lambda g, out, x, y: (g, -g * round_((x - out) / y)), "fiu")

negative = elementwise("negative", "-x", lambda np, x: -x, lambda g, out, x: (-g,), "fi")

abs_ = elementwise("abs", "abs(x)", lambda np, x: np.abs(x), lambda g, out, x: (g * sign(x),), "fi")

sign = elementwise("sign", "sign(x)", lambda np, x: np.sign(x), lambda g, out, x: (None,), "fi")

maximum = elementwise(
    "maximum",
    "max(x, y)",
    lambda np, x, y: np.maximum(x, y),
    lambda g, out, x, y: (select(greater_equal(x, y), g, 0.0), select(greater_equal(x, y), 0.0, g)),
    "fiu",
)

minimum = elementwise(
    "minimum",
    "min(x, y)",
    lambda np, x, y: np.minimum(x, y),
    lambda g, out, x, y: (select(less_equal(x, y), g, 0.0), select(less_equal(x, y), 0.0, g)),
    "fiu",
)


def _pow_vjp(g, out, x, y):
    # At x = 0, 0 ** y is constant in y > 0, so log(x) must not contribute. At y = 0, x ** 0 is
    # constant in x, so x ** -1 must not contribute, even at x = 0.
    safe_x = select(greater(x, 0.0), x, 1.0)
    safe_exponent = select(equal(y, 0.0), 1.0, y - 1.0)
    return g * y * pow_(x, safe_exponent), select(greater(x, 0.0), g * out * log(safe_x), 0.0)


def _pow(np, x, y):
    """Integer powers wrap around; a negative exponent results in 1 / x^n, truncated, and 0 at 0."""
    if x.dtype.kind != "i":
        # Copied arrays with axes, because NumPy computes a power with one exponent 0.5 as sqrt,
        # which is NaN at -inf.
        x, y = np.broadcast_arrays(x, y)
        return np.power(x[None], y[None].copy())[0]
    is_one = (x == 1) | (x == -1)                               # x^-n is x^n, or x^(n mod 2)
    return np.where((y >= 0) | is_one, np.power(x, np.where(y < 0, y & 1, y)), 0)


pow_ = elementwise("pow", "pow(x, y)", _pow, _pow_vjp, "fiu")

floor = elementwise("floor", "floor(x)", lambda np, x: np.floor(x), lambda g, out, x: (None,), "f")

ceil = elementwise("ceil", "ceil(x)", lambda np, x: np.ceil(x), lambda g, out, x: (None,), "f")

round_ = elementwise("round", "round(x)", lambda np, x: np.rint(x), lambda g, out, x: (None,), "f")

# ── unary functions ───────────────────────────────────────────────────────────────────────────

exp = elementwise("exp", "exp(x)", lambda np, x: np.exp(x), lambda g, out, x: (g * out,), "f")

expm1 = elementwise("expm1", "expm1(x)", lambda np, x: np.expm1(x),
                    lambda g, out, x: (g * exp(x),), "f")      # out + 1 cancels

log = elementwise("log", "log(x)", lambda np, x: np.log(x), lambda g, out, x: (g / x,), "f")

log1p = elementwise(
    "log1p", "log1p(x)", lambda np, x: np.log1p(x), lambda g, out, x: (g / (x + 1.0),), "f"
)

sqrt = elementwise(
    "sqrt", "sqrt(x)", lambda np, x: np.sqrt(x), lambda g, out, x: (g * 0.5 / out,), "f"
)

tanh = elementwise("tanh", "tanh(x)", lambda np, x: np.tanh(x),
                   lambda g, out, x: (g * (1.0 - out * out),), "f")

sin = elementwise("sin", "sin(x)", lambda np, x: np.sin(x), lambda g, out, x: (g * cos(x),), "f")

cos = elementwise("cos", "cos(x)", lambda np, x: np.cos(x), lambda g, out, x: (-g * sin(x),), "f")


def _erf(np, x):
    return np.vectorize(math_erf, otypes=[x.dtype])(x) if x.size else x


erf = elementwise("erf", "erf(x)", _erf,
                  lambda g, out, x: (g * exp(-x * x) * (2 / math_sqrt(pi)),), "f")

# A primitive because exp(-x) may overflow, while the derivative out * (1 - out) does not.
sigmoid = elementwise("sigmoid", "sigmoid(x)", lambda np, x: 1 / (1 + np.exp(-x)),
                      lambda g, out, x: (g * out * (1.0 - out),), "f")

# Not the primitive maximum, so that the derivative at 0 is 0, as in TensorFlow.
relu = elementwise("relu", "max(x, 0)", lambda np, x: np.maximum(x, 0),
                   lambda g, out, x: (select(greater(out, 0.0), g, 0.0),), "f")

identity = elementwise("identity", "x", lambda np, x: x, lambda g, out, x: (g,))


def _cast_spec(x: TensorSpec, dtype, rounded=True) -> TensorSpec:
    return TensorSpec(x.shape, dtype)


def _cast(np, x, dtype, rounded=True):
    """Floats saturate to the range of int32, NaN becomes 0, and uint8 wraps around.

    `rounded=False` permits the compiler to cast the value that `x` had before it was rounded to
    float16.
    """
    if x.dtype.kind != "f" or dtype.kind in "fb":
        return x != 0 if dtype.kind == "b" else x.astype(dtype.name)
    saturated = np.clip(x.astype("float64"), -(2.0**31), 2.0**31 - 1)
    return np.nan_to_num(saturated, nan=0.0).astype("int32").astype(dtype.name)


def _cast_vjp(g, out, x, dtype, rounded=True):
    if not (x.dtype.is_floating and dtype.is_floating):
        return None,
    # A float16 cotangent that is cast to float32 does not have to be rounded to float16 first.
    to_float32 = (g.dtype, x.dtype) == (dtypes.float16, dtypes.float32)
    return cast(g, dtype=x.dtype, **({"rounded": False} if to_float32 else {})),


cast = primitive("cast", "elementwise", _cast_spec, _cast_vjp, _cast, expression="cast(x)")

# ── comparisons, logic, bits ──────────────────────────────────────────────────────────────────


def _comparison(name: str, operator: str, reference_impl, dtype_kinds="fiu"):
    return elementwise(name, f"x {operator} y", reference_impl,
                       lambda g, out, x, y: (None, None), dtype_kinds, dtypes.bool_)


equal = _comparison("equal", "==", lambda np, x, y: x == y, "fiub")
not_equal = _comparison("not_equal", "!=", lambda np, x, y: x != y, "fiub")
less = _comparison("less", "<", lambda np, x, y: x < y)
less_equal = _comparison("less_equal", "<=", lambda np, x, y: x <= y)
greater = _comparison("greater", ">", lambda np, x, y: x > y)
greater_equal = _comparison("greater_equal", ">=", lambda np, x, y: x >= y)

# Not x != x and x - x == 0: a shader compiler that assumes finite values may fold these.
is_nan = elementwise("is_nan", "isnan(x)", lambda np, x: np.isnan(x), lambda g, out, x: (None,),
                     "f", dtypes.bool_)
is_finite = elementwise("is_finite", "isfinite(x)", lambda np, x: np.isfinite(x),
                        lambda g, out, x: (None,), "f", dtypes.bool_)

bitwise_and = elementwise("bitwise_and", "x & y", lambda np, x, y: x & y, None, "iub")
bitwise_or = elementwise("bitwise_or", "x | y", lambda np, x, y: x | y, None, "iub")
bitwise_xor = elementwise("bitwise_xor", "x ^ y", lambda np, x, y: x ^ y, None, "iub")
invert = elementwise("invert", "~x", lambda np, x: ~x, None, "iub")
# A shift by 32 or more, or by a negative count, results in the limit of repeated shifts by 1.
left_shift = elementwise("left_shift", "x << y", lambda np, x, y: np.left_shift(x, y), None, "i")
right_shift = elementwise("right_shift", "x >> y", lambda np, x, y: np.right_shift(x, y), None, "i")


def _select_spec(condition: TensorSpec, x: TensorSpec, y: TensorSpec) -> TensorSpec:
    if not condition.dtype.is_bool:
        raise DTypeError(
            "where", f"the condition is {condition.dtype}, not bool", "use a comparison: x != 0"
        )
    dtype = dtypes.require_same_dtype("where", x.dtype, y.dtype)
    return TensorSpec(shapes.broadcast("where", condition.shape, x.shape, y.shape), dtype)


def _select_vjp(g, out, condition, x, y):
    return (
        None,
        sum_to_shape(select(condition, g, 0.0), x.shape),
        sum_to_shape(select(condition, 0.0, g), y.shape),
    )


select = primitive(
    "select", "elementwise", _select_spec, _select_vjp,
    lambda np, condition, x, y: np.where(condition, x, y), expression="select(x, y, z)")

# ── indices ───────────────────────────────────────────────────────────────────────────────────

iota = primitive(
    "iota",
    "iota",
    lambda shape, axis: TensorSpec(shape, dtypes.int32),
    lambda g, out, **_: (),
    lambda np, shape, axis: np.broadcast_to(
        np.arange(shape[axis], dtype="int32").reshape(
            tuple(-1 if i == axis else 1 for i in range(len(shape)))
        ),
        shape,
    ),
)

# ── reductions ────────────────────────────────────────────────────────────────────────────────

reduce_sum = reduction("reduce_sum", "x + y", 0, lambda np, x, axes: x.sum(axes, dtype=x.dtype),
                       lambda g, out, x, axes: (broadcast_reduced(g, axes, x.shape),))


def _min_max_vjp(g, out, x, axes):
    """The cotangent is divided equally among the elements that attain the extremum, as in
    TensorFlow."""
    is_extremum = cast(equal(x, broadcast_reduced(out, axes, x.shape)), dtype=x.dtype)
    count = reduce_sum(is_extremum, axes=axes)
    return (is_extremum * broadcast_reduced(g / count, axes, x.shape),)


reduce_max = reduction("reduce_max", "max(x, y)", "lowest", lambda np, x, axes:
                       x.max(axes, initial=_reduction_identity(np, x, -1)), _min_max_vjp)

reduce_min = reduction("reduce_min", "min(x, y)", "highest", lambda np, x, axes:
                       x.min(axes, initial=_reduction_identity(np, x, 1)), _min_max_vjp)


def _reduction_identity(np, x, sign):
    """The greatest (sign 1) or least (sign -1) value of the dtype: the extremum of no elements."""
    if x.dtype.kind == "f":
        return sign * np.inf
    return np.iinfo(x.dtype).max if sign > 0 else np.iinfo(x.dtype).min


# ── views ─────────────────────────────────────────────────────────────────────────────────────


def _reshape_spec(x: TensorSpec, shape) -> TensorSpec:
    if x.count != shapes.num_elements(shape):
        raise InvalidArgumentError(
            "reshape",
            f"cannot reshape {x.count} elements of shape {x.shape} to {shape}",
            f"the product of the sizes must be {x.count}",
        )
    return TensorSpec(shape, x.dtype)


reshape = primitive("reshape", "view", _reshape_spec, lambda g, out, x, shape:
                    (reshape(g, shape=tuple(x.shape)),), lambda np, x, shape: x.reshape(shape),
                    view=lambda view, shape: view.reshape(shape))


def _transpose_spec(x: TensorSpec, perm) -> TensorSpec:
    if sorted(perm) != list(range(len(x.shape))):
        raise InvalidArgumentError(
            "transpose",
            f"perm {perm} is not a permutation of the axes of shape {x.shape}",
            f"name each of 0 to {len(x.shape) - 1} once",
        )
    return TensorSpec(tuple(x.shape[p] for p in perm), x.dtype)


def inverse_permutation(perm) -> tuple[int, ...]:
    """The inverse of the permutation `perm`."""
    return tuple(perm.index(i) for i in range(len(perm)))


transpose = primitive(
    "transpose", "view", _transpose_spec,
    lambda g, out, x, perm: (transpose(g, perm=inverse_permutation(perm)),),
    lambda np, x, perm: x.transpose(perm), view=lambda view, perm: view.transpose(perm))


def _broadcast_spec(x: TensorSpec, shape) -> TensorSpec:
    if shapes.broadcast("broadcast_to", x.shape, shape) != tuple(shape):
        raise InvalidArgumentError("broadcast_to", f"shape {x.shape} does not broadcast to {shape}",
                                   "sizes must be equal or 1, aligned on the right")
    return TensorSpec(tuple(shape), x.dtype)


broadcast_to = primitive(
    "broadcast_to", "view", _broadcast_spec,
    lambda g, out, x, shape: (sum_to_shape(g, x.shape),),
    lambda np, x, shape: np.broadcast_to(x, shape),
    view=lambda view, shape: view.broadcast_to(shape))


def _python_slices(begin, shape, steps):
    """The Python slices for `shape` elements, `steps` apart, from `begin`."""
    ends = [b + n * s for b, n, s in zip(begin, shape, steps)]
    return tuple(slice(b, e if e >= 0 else None, s) for b, e, s in zip(begin, ends, steps))


# Elements begin[i] + j * steps[i] of axis i, for j < shape[i]. The caller has checked the bounds.
strided_slice = primitive(
    "slice",
    "view",
    lambda x, begin, shape, steps: TensorSpec(tuple(shape), x.dtype),
    lambda g, out, x, begin, shape, steps: (
        pad_strided(g, begin=begin, shape=tuple(x.shape), steps=steps),
    ),
    lambda np, x, begin, shape, steps: (
        x[_python_slices(begin, shape, steps)] if 0 not in shape else np.zeros(shape, x.dtype)
    ),
    view=lambda view, begin, shape, steps: view.slice(begin, shape, steps),
)

stop_gradient = primitive("stop_gradient", "view", lambda x: x, lambda g, out, x: (None,),
                          lambda np, x: x, view=lambda view: view)

# ── concatenation and padding ─────────────────────────────────────────────────────────────────


def _pad_reference(np, x, begin, shape, steps, fill=0):
    out = np.full(shape, fill, x.dtype)
    if x.size:
        out[_python_slices(begin, x.shape, steps)] = x
    return out


# The transpose of strided_slice: a tensor of `shape` filled with `fill`, into which x is written
# where the slice would read.
pad_strided = primitive(
    "pad", "assemble", lambda x, begin, shape, steps, fill=0: TensorSpec(tuple(shape), x.dtype),
    lambda g, out, x, begin, shape, steps, fill=0:
        (strided_slice(g, begin=begin, shape=tuple(x.shape), steps=steps),), _pad_reference,
    assemble=lambda specs, begin, shape, steps, fill=0:
        (fill, ((0, View.of(shape).slice(begin, specs[0].shape, steps)),)))


def _concat_spec(*args: TensorSpec, axis) -> TensorSpec:
    first, dtype = args[0], dtypes.require_same_dtype("concat", *(a.dtype for a in args))
    for a in args[1:]:
        other_sizes = shapes.remove_axes(first.shape, (axis,))
        if len(a.shape) != len(first.shape) or shapes.remove_axes(a.shape, (axis,)) != other_sizes:
            raise InvalidArgumentError(
                "concat",
                f"shapes {first.shape} and {a.shape} differ in an axis other than {axis}",
                "only the size along the axis may differ",
            )
    total = sum(a.shape[axis] for a in args)
    return TensorSpec(first.shape[:axis] + (total,) + first.shape[axis + 1:], dtype)


def _concat_offsets(args, axis):
    """(operand index, begin of the operand in the result) for each operand."""
    offset = 0
    for i, a in enumerate(args):
        yield i, tuple(offset if j == axis else 0 for j in range(len(a.shape)))
        offset += a.shape[axis]


def _concat_vjp(g, out, *args, axis):
    ones = (1,) * len(out.shape)
    return [strided_slice(g, begin=begin, shape=tuple(args[i].shape), steps=ones)
            for i, begin in _concat_offsets(args, axis)]


def _concat_assemble(specs, axis):
    shape = _concat_spec(*specs, axis=axis).shape
    ones = (1,) * len(shape)
    return None, tuple((i, View.of(shape).slice(begin, specs[i].shape, ones))
                       for i, begin in _concat_offsets(specs, axis))


concat = primitive("concat", "assemble", _concat_spec, _concat_vjp,
                   lambda np, *args, axis: np.concatenate(args, axis), assemble=_concat_assemble)

