"""The closed set of primitives. One block each: shape, gradient, meaning, formula.

A vjp receives the gradient `g` of the result, the result, and the arguments, and returns each
argument's share (None where there is none). A meaning receives NumPy first. Formulas are read by
the backends; see backends/wasm/functions.py for the functions they may use.
"""
from math import erf as error_function, pi, sqrt as root

from ..base import dtypes, shapes
from ..base.errors import DTypeError, InvalidArgumentError
from ..base.views import View
from ..ir import TensorSpec

from .registration import elementwise, primitive, reduction, broadcast_reduced, sum_to_shape

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
    """Division by zero gives 0 for whole numbers, as no backend may trap."""
    return (
        np.floor(x / y) if x.dtype.kind == "f" else np.where(y == 0, 0, x // np.where(y == 0, 1, y))
    )


floordiv = elementwise(
    "floordiv", "floordiv(x, y)", _floordiv, lambda g, out, x, y: (None, None), "fiu"
)

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
    # Where x is 0 its logarithm is not needed: 0 ** y does not change with y > 0. Where y is 0
    # no power of x is: x ** 0 does not change with x, not even at 0.
    safe = select(greater(x, 0.0), x, 1.0)
    less = select(equal(y, 0.0), 1.0, y - 1.0)
    return g * y * pow_(x, less), select(greater(x, 0.0), g * out * log(safe), 0.0)


pow_ = elementwise("pow", "pow(x, y)", lambda np, x, y: np.power(x, y), _pow_vjp, "f")

floor = elementwise("floor", "floor(x)", lambda np, x: np.floor(x), lambda g, out, x: (None,), "f")

ceil = elementwise("ceil", "ceil(x)", lambda np, x: np.ceil(x), lambda g, out, x: (None,), "f")

round_ = elementwise("round", "round(x)", lambda np, x: np.rint(x), lambda g, out, x: (None,), "f")

# ── functions of one number ───────────────────────────────────────────────────────────────────

exp = elementwise("exp", "exp(x)", lambda np, x: np.exp(x), lambda g, out, x: (g * out,), "f")

expm1 = elementwise("expm1", "expm1(x)", lambda np, x: np.expm1(x),
                    lambda g, out, x: (g * (out + 1.0),), "f")

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
    """Through the complementary series and fraction of math.erf, element by element."""
    return np.vectorize(error_function, otypes=[x.dtype])(x) if x.size else x


erf = elementwise("erf", "erf(x)", _erf,
                  lambda g, out, x: (g * exp(-x * x) * (2 / root(pi)),), "f")

# A primitive, since exp(-x) may overflow: its own slope, out * (1 - out), never does.
sigmoid = elementwise("sigmoid", "sigmoid(x)", lambda np, x: 1 / (1 + np.exp(-x)),
                      lambda g, out, x: (g * out * (1.0 - out),), "f")

# Not max(x, 0), so that the slope at 0 is 0, as in TensorFlow.
relu = elementwise("relu", "max(x, 0)", lambda np, x: np.maximum(x, 0),
                   lambda g, out, x: (select(greater(out, 0.0), g, 0.0),), "f")

identity = elementwise("identity", "x", lambda np, x: x, lambda g, out, x: (g,))


def _cast_spec(x: TensorSpec, dtype, rounded=True) -> TensorSpec:
    return TensorSpec(x.shape, dtype)


def _cast(np, x, dtype, rounded=True):
    """Floats beyond the range of int32 become its nearest end, NaN becomes 0; uint8 wraps. Unless
    `rounded`, it may as well be of what `x` was before it was rounded to float16."""
    if x.dtype.kind != "f" or dtype.kind in "fb":
        return x != 0 if dtype.kind == "b" else x.astype(dtype.name)
    whole = np.nan_to_num(np.clip(x.astype("float64"), -(2.0**31), 2.0**31 - 1), nan=0.0).astype(
        "int32"
    )
    return whole.astype(dtype.name)


def _cast_vjp(g, out, x, dtype, rounded=True):
    if not (x.dtype.is_floating and dtype.is_floating):
        return None,
    # A gradient on its way to float32 need not have been float16 at the end.
    widens = (g.dtype, x.dtype) == (dtypes.float16, dtypes.float32)
    return cast(g, dtype=x.dtype, **({"rounded": False} if widens else {})),


cast = primitive("cast", "elementwise", _cast_spec, _cast_vjp, _cast, expression="cast(x)")

# ── comparisons, logic, bits ──────────────────────────────────────────────────────────────────


def _comparison(name: str, sign: str, meaning, dtype_kinds="fiu"):
    return elementwise(
        name, f"x {sign} y", meaning, lambda g, out, x, y: (None, None), dtype_kinds, dtypes.bool_
    )


equal = _comparison("equal", "==", lambda np, x, y: x == y, "fiub")
not_equal = _comparison("not_equal", "!=", lambda np, x, y: x != y, "fiub")
less = _comparison("less", "<", lambda np, x, y: x < y)
less_equal = _comparison("less_equal", "<=", lambda np, x, y: x <= y)
greater = _comparison("greater", ">", lambda np, x, y: x > y)
greater_equal = _comparison("greater_equal", ">=", lambda np, x, y: x >= y)

# Not x != x and x - x == 0, which a compiler that takes all numbers for finite may fold away.
is_nan = elementwise("is_nan", "isnan(x)", lambda np, x: np.isnan(x), lambda g, out, x: (None,),
                     "f", dtypes.bool_)
is_finite = elementwise("is_finite", "isfinite(x)", lambda np, x: np.isfinite(x),
                        lambda g, out, x: (None,), "f", dtypes.bool_)

bitwise_and = elementwise("bitwise_and", "x & y", lambda np, x, y: x & y, None, "iub")
bitwise_or = elementwise("bitwise_or", "x | y", lambda np, x, y: x | y, None, "iub")
bitwise_xor = elementwise("bitwise_xor", "x ^ y", lambda np, x, y: x ^ y, None, "iub")
invert = elementwise("invert", "~x", lambda np, x: ~x, None, "iub")
# By 32 or more, or by a negative number: what shifting one by one, over and over, would leave.
left_shift = elementwise("left_shift", "x << y", lambda np, x, y: np.left_shift(x, y), None, "i")
right_shift = elementwise("right_shift", "x >> y", lambda np, x, y: np.right_shift(x, y), None, "i")


def _select_spec(condition: TensorSpec, x: TensorSpec, y: TensorSpec) -> TensorSpec:
    if not condition.dtype.is_bool:
        raise DTypeError(
            "where", f"the condition holds {condition.dtype}, not bool", "compare it: x != 0"
        )
    dtype = dtypes.require_same_dtype("where", x.dtype, y.dtype)
    return TensorSpec(shapes.broadcast("where", condition.shape, x.shape, y.shape), dtype)


def _select_vjp(g, out, condition, x, y):
    return (
        None,
        sum_to_shape(select(condition, g, 0.0), x.shape),
        sum_to_shape(select(condition, 0.0, g), y.shape),
    )


select = primitive("select", "elementwise", _select_spec, _select_vjp,
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

# ── folds ─────────────────────────────────────────────────────────────────────────────────────

reduce_sum = reduction("reduce_sum", "x + y", 0, lambda np, x, axes: x.sum(axes, dtype=x.dtype),
                       lambda g, out, x, axes: (broadcast_reduced(g, axes, x.shape),))


def _min_max_vjp(g, out, x, axes):
    """To the elements that are the extreme, in equal parts where several are (as TensorFlow)."""
    hit = cast(equal(x, broadcast_reduced(out, axes, x.shape)), dtype=x.dtype)
    return (hit * broadcast_reduced(g / reduce_sum(hit, axes=axes), axes, x.shape),)


reduce_max = reduction("reduce_max", "max(x, y)", "lowest", lambda np, x, axes:
                       x.max(axes, initial=_reduction_identity(np, x, -1)), _min_max_vjp)

reduce_min = reduction("reduce_min", "min(x, y)", "highest", lambda np, x, axes:
                       x.min(axes, initial=_reduction_identity(np, x, 1)), _min_max_vjp)


def _reduction_identity(np, x, side):
    """The end of a dtype's range: what the maximum or minimum of nothing is."""
    if x.dtype.kind == "f":
        return side * np.inf
    return np.iinfo(x.dtype).max if side > 0 else np.iinfo(x.dtype).min


# ── movement: views ───────────────────────────────────────────────────────────────────────────


def _reshape_spec(x: TensorSpec, shape) -> TensorSpec:
    if x.count != shapes.num_elements(shape):
        raise InvalidArgumentError(
            "reshape",
            f"{x.count} elements of shape {x.shape} do not fill {shape}",
            f"the sizes must multiply to {x.count}",
        )
    return TensorSpec(shape, x.dtype)


reshape = primitive("reshape", "view", _reshape_spec, lambda g, out, x, shape:
                    (reshape(g, shape=tuple(x.shape)),), lambda np, x, shape: x.reshape(shape),
                    view=lambda view, shape: view.reshape(shape))


def _transpose_spec(x: TensorSpec, perm) -> TensorSpec:
    if sorted(perm) != list(range(len(x.shape))):
        raise InvalidArgumentError(
            "transpose",
            f"perm {perm} does not order the axes of shape {x.shape}",
            f"name each of 0 to {len(x.shape) - 1} once",
        )
    return TensorSpec(tuple(x.shape[p] for p in perm), x.dtype)


def inverse_permutation(perm) -> tuple[int, ...]:
    """The permutation that undoes `perm`."""
    return tuple(perm.index(i) for i in range(len(perm)))


transpose = primitive("transpose", "view", _transpose_spec, lambda g, out, x, perm:
                      (transpose(g, perm=inverse_permutation(perm)),), lambda np, x, perm: x.transpose(perm),
                      view=lambda view, perm: view.transpose(perm))


def _broadcast_spec(x: TensorSpec, shape) -> TensorSpec:
    if shapes.broadcast("broadcast_to", x.shape, shape) != tuple(shape):
        raise InvalidArgumentError("broadcast_to", f"shape {x.shape} does not stretch to {shape}",
                                   "sizes must be equal or 1, aligned on the right")
    return TensorSpec(tuple(shape), x.dtype)


broadcast_to = primitive("broadcast_to", "view", _broadcast_spec, lambda g, out, x, shape:
                         (sum_to_shape(g, x.shape),), lambda np, x, shape: np.broadcast_to(x, shape),
                         view=lambda view, shape: view.broadcast_to(shape))


def _python_slices(begin, shape, steps):
    """The Python slices that pick `shape` elements from `begin` on, `steps` apart."""
    ends = [b + n * s for b, n, s in zip(begin, shape, steps)]
    return tuple(slice(b, e if e >= 0 else None, s) for b, e, s in zip(begin, ends, steps))


# Every steps[i]-th element from begin[i] on, shape[i] of them; the caller has checked the bounds.
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

# ── movement: regions ─────────────────────────────────────────────────────────────────────────


def _pad_reference(np, x, begin, shape, steps, fill=0):
    out = np.full(shape, fill, x.dtype)
    if x.size:
        out[_python_slices(begin, x.shape, steps)] = x
    return out


# The inverse of slice: a tensor of `shape` full of `fill`, with x at those places.
pad_strided = primitive(
    "pad", "assemble", lambda x, begin, shape, steps, fill=0: TensorSpec(tuple(shape), x.dtype),
    lambda g, out, x, begin, shape, steps, fill=0:
        (strided_slice(g, begin=begin, shape=tuple(x.shape), steps=steps),), _pad_reference,
    assemble=lambda specs, begin, shape, steps, fill=0:
        (fill, ((0, View.of(shape).slice(begin, specs[0].shape, steps)),)))


def _concat_spec(*args: TensorSpec, axis) -> TensorSpec:
    first, dtype = args[0], dtypes.require_same_dtype("concat", *(a.dtype for a in args))
    for a in args[1:]:
        if len(a.shape) != len(first.shape) or shapes.remove_axes(a.shape, (axis,)) != shapes.remove_axes(
            first.shape, (axis,)
        ):
            raise InvalidArgumentError(
                "concat",
                f"shapes {first.shape} and {a.shape} differ beside axis {axis}",
                "only the size along the axis may differ",
            )
    total = sum(a.shape[axis] for a in args)
    return TensorSpec(first.shape[:axis] + (total,) + first.shape[axis + 1:], dtype)


def _concat_offsets(args, axis):
    """Where each part begins: its corner in the whole."""
    at = 0
    for i, a in enumerate(args):
        yield i, tuple(at if j == axis else 0 for j in range(len(a.shape)))
        at += a.shape[axis]


def _concat_vjp(g, out, *args, axis):
    ones = (1,) * len(out.shape)
    return [strided_slice(g, begin=begin, shape=tuple(args[i].shape), steps=ones)
            for i, begin in _concat_offsets(args, axis)]


def _concat_region(specs, axis):
    whole = _concat_spec(*specs, axis=axis).shape
    ones = (1,) * len(whole)
    return None, tuple((i, View.of(whole).slice(begin, specs[i].shape, ones))
                       for i, begin in _concat_offsets(specs, axis))


concat = primitive("concat", "assemble", _concat_spec, _concat_vjp,
                   lambda np, *args, axis: np.concatenate(args, axis), assemble=_concat_region)

