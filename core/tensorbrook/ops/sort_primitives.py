"""Sort primitives: sort, top-k and radix sort passes along the last axis (the rows).

Sorting is stable, and NaN is greater than every number. The CPU kernels are in wasm/kernels/sort.c.
"""
from math import prod

from ..base import dtypes
from ..base.errors import DTypeError
from ..ir import TensorSpec
from ..tensor import Tensor
from .kernel_primitives import gather, scatter_add
from .primitives import add, iota, multiply, reshape
from .registration import primitive

# The maximum row length of `sort`: two copies of the row's items fit into the scratch memory of a
# thread.
MAX_SORT_LENGTH = 1 << 16
DIGITS = 256                                # values of a radix digit of 8 bits


def _require_sortable(op: str, x: TensorSpec) -> None:
    if x.dtype.name in ("bool", "uint8"):
        raise DTypeError(op, f"{x.dtype} is not supported", "use tf.cast to int32 or float32")


def _stable_argsort(np, x, descending):
    if not descending:
        return np.argsort(x, -1, kind="stable")
    return x.shape[-1] - 1 - np.argsort(x[..., ::-1], -1, kind="stable")[..., ::-1]


def flat_row_indices(indices: Tensor, row_length: int) -> Tensor:
    """Indices (..., n) within rows as indices (count,) into the flattened tensor."""
    shape = tuple(indices.shape)
    rows, n = prod(shape[:-1]), shape[-1]
    row_begins = multiply(iota(shape=(rows, n), axis=0), row_length)
    return reshape(add(row_begins, reshape(indices, shape=(rows, n))), shape=(rows * n,))


def take_along_rows(x: Tensor, indices: Tensor) -> Tensor:
    """`out[..., i] = x[..., indices[..., i]]`."""
    flat = reshape(x, shape=(x.spec.count,))
    out = gather(flat, flat_row_indices(indices, x.shape[-1]), axis=0)
    return reshape(out, shape=tuple(indices.shape))


def _take_vjp(gs, outs, x: Tensor, **_):
    """The VJP of (values, indices): the cotangents of the values, scattered to the indices."""
    g, (_, indices) = gs[0], outs
    if g is None:
        return (None,)
    flat_indices = flat_row_indices(indices, x.shape[-1])
    total = scatter_add(reshape(g, shape=(g.spec.count,)), flat_indices, rows=x.spec.count)
    return (reshape(total, shape=tuple(x.shape)),)


def _row_shape(x: TensorSpec) -> tuple[int, int]:
    return prod(x.shape[:-1]), x.shape[-1]


# ── sort and top-k ────────────────────────────────────────────────────────────────────────────


def _sort_spec(x: TensorSpec, descending):
    _require_sortable("sort", x)
    return x, TensorSpec(x.shape, dtypes.int32)


def _sort(np, x, descending):
    order = _stable_argsort(np, x, descending)
    return np.take_along_axis(x, order, -1), order


# (values, indices) of rows of at most MAX_SORT_LENGTH elements.
sort = primitive(
    "sort", "kernel", _sort_spec, _take_vjp, _sort, kernel_call=lambda specs, outs, descending: (
        "sort", (*_row_shape(specs[0]), int(specs[0].dtype.is_floating), int(descending)),
        16 * specs[0].count))


def _top_k_spec(x: TensorSpec, k):
    _require_sortable("top_k", x)
    return TensorSpec((*x.shape[:-1], k), x.dtype), TensorSpec((*x.shape[:-1], k), dtypes.int32)


def _top_k(np, x, k):
    order = _stable_argsort(np, x, True)[..., :k]
    return np.take_along_axis(x, order, -1), order


# (values, indices) of the k greatest elements of each row in descending order, k at most
# MAX_SORT_LENGTH.
top_k = primitive(
    "top_k", "kernel", _top_k_spec, _take_vjp, _top_k, kernel_call=lambda specs, outs, k: (
        "top_k", (*_row_shape(specs[0]), k, int(specs[0].dtype.is_floating)),
        specs[0].count + 16 * outs[0].count))

# ── passes of a parallel radix sort, for long rows ────────────────────────────────────────────
# An item is a pair (index in the row, key) of 32 bits each. As unsigned integers, the keys have the
# same order as the values.


def _items_spec(x: TensorSpec, descending) -> TensorSpec:
    _require_sortable("sort", x)
    return TensorSpec((*_row_shape(x), 2), dtypes.int32)


def _radix_keys(np, x, descending):
    if x.dtype.kind == "f":
        bits = (x.astype("float32") + np.float32(0)).view("int32")          # -0 becomes 0
        keys = bits.view("uint32") ^ np.where(bits < 0, 0xFFFFFFFF, 1 << 31).astype("uint32")
        keys = np.where(np.isnan(x), np.uint32(0xFFFFFFFF), keys)
    else:
        keys = x.view("uint32") ^ np.uint32(1 << 31)
    shape = prod(x.shape[:-1]), x.shape[-1]
    keys = (~keys if descending else keys).view("int32").reshape(shape)
    indices = np.broadcast_to(np.arange(shape[1], dtype="int32"), shape)
    return np.stack([indices, keys], -1)


# The items of each row.
radix_keys = primitive(
    "radix_keys", "kernel", _items_spec, None, _radix_keys,
    kernel_call=lambda specs, out, descending: (
        "radix_keys", (*_row_shape(specs[0]), int(specs[0].dtype.is_floating), int(descending)),
        2 * specs[0].count))


def _digits(np, items, digit):
    return items[..., 1].view("uint32") >> np.uint32(8 * digit) & np.uint32(DIGITS - 1)


def _radix_histogram(np, items, digit, chunks):
    rows, n = items.shape[:2]
    digits, bounds = _digits(np, items, digit), [n * i // chunks for i in range(chunks + 1)]
    return np.array([[np.bincount(row[a:b], minlength=DIGITS) for a, b in zip(bounds, bounds[1:])]
                     for row in digits], "int32").reshape(rows, chunks, DIGITS)


# The number of items with each value of a digit, for each chunk of a row.
radix_histogram = primitive(
    "radix_histogram", "kernel",
    lambda items, digit, chunks: TensorSpec((items.shape[0], chunks, DIGITS), dtypes.int32),
    None, _radix_histogram,
    kernel_call=lambda specs, out, digit, chunks: (
        "radix_histogram", (*specs[0].shape[:2], chunks, digit), specs[0].count))


def _radix_scatter(np, items, counts, digit):
    order = np.argsort(_digits(np, items, digit), -1, kind="stable")
    return np.take_along_axis(items, order[..., None], 1)


# The items of each row, sorted stably by one digit.
radix_scatter = primitive(
    "radix_scatter", "kernel", lambda items, counts, digit: items, None, _radix_scatter,
    kernel_call=lambda specs, out, digit: (
        "radix_scatter", (*specs[0].shape[:2], specs[1].shape[1], digit), 2 * specs[0].count))
