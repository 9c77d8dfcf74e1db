"""Primitives of kind kernel: matrix products, convolution, pooling, gather, scatter, random bits.

A `kernel_call` function returns (kernel name, parameters, work); wasm/engine.h documents the
kernels and their parameters.
"""
from math import prod

from ..base import dtypes, shapes
from ..base.errors import DTypeError, InvalidArgumentError
from ..ir import TensorSpec
from .conv_reference import (
    conv_filter_grad_reference, conv_flops, conv_input_grad_reference, conv_kernel_params,
    conv_reference, conv_spec, philox_reference, pool_kernel_params, pool_reference, pool_spec)
from .primitives import reshape, transpose
from .registration import primitive

# ── matrix products ───────────────────────────────────────────────────────────────────────────


def _matmul_dims(x: TensorSpec, y: TensorSpec, transpose_a, transpose_b):
    (m, k), (k2, n) = x.shape[-2:], y.shape[-2:]
    if transpose_a:
        m, k = k, m
    if transpose_b:
        k2, n = n, k2
    return m, k, k2, n


def _matmul_spec(x: TensorSpec, y: TensorSpec, transpose_a=False, transpose_b=False) -> TensorSpec:
    dtype = dtypes.require_same_dtype("matmul", x.dtype, y.dtype)
    if not dtype.is_floating:
        raise DTypeError("matmul", f"{dtype} is not supported", "use tf.cast to float32")
    if len(x.shape) < 2 or len(y.shape) < 2:
        raise InvalidArgumentError(
            "matmul",
            f"shapes {x.shape} and {y.shape} are not both matrices",
            "each needs rank 2 or more; reshape vectors to (n, 1) or (1, n)",
        )
    m, k, k2, n = _matmul_dims(x, y, transpose_a, transpose_b)
    if k != k2:
        raise InvalidArgumentError(
            "matmul",
            f"inner sizes {k} and {k2} differ: {x.shape} @ {y.shape}"
            + (
                f" with transpose_a={transpose_a}, transpose_b={transpose_b}"
                if transpose_a or transpose_b
                else ""
            ),
            "the columns of a must equal the rows of b" + _transpose_hint(x.shape, y.shape),
        )
    return TensorSpec(shapes.broadcast("matmul", x.shape[:-2], y.shape[:-2]) + (m, n), dtype)


def _transpose_hint(x, y) -> str:
    if len(x) == len(y) == 2 and x[1] == y[1]:
        return "; did you mean transpose_b=True?"
    return "; did you mean transpose_a=True?" if len(x) == len(y) == 2 and x[0] == y[0] else ""


def _matmul_vjp(g, out, x, y, transpose_a=False, transpose_b=False):
    # Each cotangent is a product of g and the other operand, with transposes that match.
    dx = matmul(y, g, transpose_a=transpose_b, transpose_b=True) if transpose_a \
        else matmul(g, y, transpose_b=not transpose_b)
    dy = matmul(g, x, transpose_a=True, transpose_b=transpose_a) if transpose_b \
        else matmul(x, g, transpose_a=not transpose_a)
    return dx, dy


def _matmul(np, x, y, transpose_a=False, transpose_b=False):
    return np.matmul(
        np.swapaxes(x, -1, -2) if transpose_a else x, np.swapaxes(y, -1, -2) if transpose_b else y
    )


def _matmul_kernel_call(specs, out: TensorSpec, transpose_a=False, transpose_b=False):
    x, y = specs
    m, k, _, n = _matmul_dims(x, y, transpose_a, transpose_b)
    batch = prod(out.shape[:-2])
    strides = [0 if prod(s.shape[:-2]) == 1 else prod(s.shape[-2:]) for s in specs]
    return (
        "gemm",
        (batch, m, n, k, int(transpose_a), int(transpose_b), *strides),
        2 * batch * m * n * k,
    )


# Batch axes are equal, or all 1 in one operand; ops.linalg.matmul broadcasts other shapes.
matmul = primitive("matmul", "kernel", _matmul_spec, _matmul_vjp, _matmul,
                   kernel_call=_matmul_kernel_call)

# ── convolution: NHWC images, HWIO filters ────────────────────────────────────────────────────
# conv2d is bilinear, so the gradients of its gradients are again these three primitives.


def _conv_kernel_call(kernel):
    return lambda specs, out, **attrs: (kernel, conv_kernel_params(**attrs), conv_flops(**attrs))


conv2d = primitive(
    "conv2d", "kernel", conv_spec("out"), lambda g, out, x, w, **a:
        (conv2d_input_grad(g, w, **a), conv2d_filter_grad(x, g, **a)),
    conv_reference, kernel_call=_conv_kernel_call("conv2d"))

conv2d_input_grad = primitive(
    "conv2d_input_grad", "kernel", conv_spec("x"), lambda g, out, dy, w, **a:
        (conv2d(g, w, **a), conv2d_filter_grad(g, dy, **a)),
    conv_input_grad_reference, kernel_call=_conv_kernel_call("conv2d_input_grad"))

conv2d_filter_grad = primitive(
    "conv2d_filter_grad", "kernel", conv_spec("w"), lambda g, out, x, dy, **a:
        (conv2d_input_grad(dy, g, **a), conv2d(x, g, **a)),
    conv_filter_grad_reference, kernel_call=_conv_kernel_call("conv2d_filter_grad"))

# ── pooling ───────────────────────────────────────────────────────────────────────────────────
# max_pool_scatter is the gradient of max_pool. max_pool_select and max_pool_scatter are linear in
# their first operand, and the gradient of each other.


def _pool_kernel_call(kernel):
    return lambda specs, out, **attrs: (kernel, pool_kernel_params(**attrs),
                                        prod(attrs["result"]) * prod(attrs["window"]))


max_pool = primitive(
    "max_pool", "kernel", pool_spec("out"), lambda g, out, x, **a: (max_pool_scatter(g, x, **a),),
    pool_reference("max"), kernel_call=_pool_kernel_call("max_pool"))

max_pool_select = primitive(
    "max_pool_select",
    "kernel",
    pool_spec("out"),
    lambda g, out, y, x, **a: (max_pool_scatter(g, x, **a), None),
    pool_reference("select"),
    kernel_call=_pool_kernel_call("max_pool_select"),
)

max_pool_scatter = primitive(
    "max_pool_scatter",
    "kernel",
    pool_spec("x"),
    lambda g, out, dy, x, **a: (max_pool_select(g, x, **a), None),
    pool_reference("scatter"),
    kernel_call=_pool_kernel_call("max_pool_scatter"),
)

avg_pool = primitive(
    "avg_pool", "kernel", pool_spec("out"), lambda g, out, x, **a: (avg_pool_grad(g, **a),),
    pool_reference("avg"), kernel_call=_pool_kernel_call("avg_pool"))

avg_pool_grad = primitive(
    "avg_pool_grad", "kernel", pool_spec("x"), lambda g, out, dy, **a: (avg_pool(g, **a),),
    pool_reference("avg_grad"), kernel_call=_pool_kernel_call("avg_pool_grad"))

# ── gather and scatter ────────────────────────────────────────────────────────────────────────


def _gather_spec(x: TensorSpec, indices: TensorSpec, axis) -> TensorSpec:
    if indices.dtype is not dtypes.int32:
        hint = "use tf.boolean_mask" if indices.dtype.is_bool else "use tf.cast(indices, tf.int32)"
        raise DTypeError("gather", f"indices are {indices.dtype}, not int32", hint)
    return TensorSpec(x.shape[:axis] + indices.shape + x.shape[axis + 1:], x.dtype)


def _gather(np, x, indices, axis):
    """An index out of range results in zeros."""
    n = x.shape[axis]
    in_range = (indices >= 0) & (indices < n)
    zeros = np.zeros(x.shape[:axis] + (1,) + x.shape[axis + 1:], x.dtype)
    return np.take(np.concatenate([x, zeros], axis), np.where(in_range, indices, n), axis)


def _gather_vjp(g, out, x, indices, axis):
    count, rows = indices.shape.num_elements(), x.shape[axis]
    outer, inner = tuple(x.shape[:axis]), tuple(x.shape[axis + 1:])
    flat = reshape(g, shape=(prod(outer), count, prod(inner)))
    by_index = reshape(transpose(flat, perm=(1, 0, 2)), shape=(count, *outer, *inner))
    total = scatter_add(by_index, reshape(indices, shape=(count,)), rows=rows)
    perm = tuple(range(1, axis + 1)) + (0,) + tuple(range(axis + 1, len(x.shape)))
    return transpose(total, perm=perm), None


def _gather_kernel_call(specs, out: TensorSpec, axis):
    x, indices = specs
    inner = prod(x.shape[axis + 1:]) * x.dtype.size
    return "gather", (prod(x.shape[:axis]), x.shape[axis], indices.count, inner), out.count


gather = primitive("gather", "kernel", _gather_spec, _gather_vjp, _gather,
                   kernel_call=_gather_kernel_call)


def _scatter_spec(updates: TensorSpec, indices: TensorSpec, rows) -> TensorSpec:
    if indices.dtype is not dtypes.int32 or updates.dtype.name in ("bool", "uint8"):
        raise DTypeError("scatter_add", f"updates are {updates.dtype} and indices {indices.dtype}",
                         "use float32 or int32 updates and int32 indices")
    if len(indices.shape) != 1 or updates.shape[:1] != indices.shape:
        raise InvalidArgumentError(
            "scatter_add",
            f"indices {indices.shape} do not match the rows of updates {updates.shape}",
            "pass one index for each row of updates",
        )
    return TensorSpec((rows,) + updates.shape[1:], updates.dtype)


def _scatter(np, updates, indices, rows):
    out = np.zeros((rows,) + updates.shape[1:], updates.dtype)
    in_range = (indices >= 0) & (indices < rows)
    np.add.at(out, indices[in_range], updates[in_range])
    return out


def _scatter_kernel_call(specs, out: TensorSpec, rows):
    updates, indices = specs
    suffix = "f32" if updates.dtype.is_floating else "i32"
    return f"scatter_add_{suffix}", (rows, indices.count, prod(updates.shape[1:])), updates.count


scatter_add = primitive(
    "scatter_add", "kernel", _scatter_spec,
    lambda g, out, updates, indices, rows: (gather(g, indices, axis=0), None),
    _scatter, kernel_call=_scatter_kernel_call)

# ── random bits ───────────────────────────────────────────────────────────────────────────────


def _random_spec(state: TensorSpec, shape) -> TensorSpec:
    if state != TensorSpec((4,), dtypes.int32):
        raise InvalidArgumentError(
            "random_bits", f"the state is {state}", "it must be int32[4], the key and the counter"
        )
    return TensorSpec(tuple(shape), dtypes.int32)


random_bits = primitive(
    "random_bits",
    "kernel",
    _random_spec,
    lambda g, out, state, shape: (None,),
    philox_reference,
    kernel_call=lambda specs, out, shape: ("random_bits", (out.count,), 8 * out.count),
)
