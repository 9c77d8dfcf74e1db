"""The primitives that put rows in order. A row is what lies along the last axis.

Their kernels are in wasm/kernels/sort.c. Equal numbers keep their order, and NaN is above all.
"""
from math import prod

from ..base import dtypes
from ..base.errors import DTypeError
from ..ir import TensorSpec
from ..tensor import Tensor
from .kernel_primitives import gather, scatter_add
from .registration import primitive
from .primitives import add, iota, multiply, reshape

# The longest row that `sort` takes: two copies of its items fit into a thread's own memory.
MAX_SORT_LENGTH = 1 << 16
DIGITS = 256


def _sortable(op: str, x: TensorSpec) -> None:
    if x.dtype.name in ("bool", "uint8"):
        raise DTypeError(op, f"it is not defined for {x.dtype}", "use tf.cast to int32 or float32")


def _stable_argsort(np, x, descending):
    """The stable order of each row. Backwards it keeps equal numbers as they were, too."""
    if not descending:
        return np.argsort(x, -1, kind="stable")
    return x.shape[-1] - 1 - np.argsort(x[..., ::-1], -1, kind="stable")[..., ::-1]


def flat_row_indices(indices: Tensor, row: int) -> Tensor:
    """Where indices within rows of that length point to, among all elements in order: (count,)."""
    shape = tuple(indices.shape)
    rows, each = prod(shape[:-1]), shape[-1]
    begins = multiply(iota(shape=(rows, each), axis=0), row)
    return reshape(add(begins, reshape(indices, shape=(rows, each))), shape=(rows * each,))


def take_along_rows(x: Tensor, indices: Tensor) -> Tensor:
    """The elements of each row of `x` that the same row of `indices` names."""
    flat = reshape(x, shape=(x.spec.count,))
    found = gather(flat, flat_row_indices(indices, x.shape[-1]), axis=0)
    return reshape(found, shape=tuple(indices.shape))


def _take_vjp(gs, outs, x: Tensor, **_):
    """What picked elements of `x` gives each of them back the gradient of its copy."""
    g, (_, indices) = gs[0], outs
    if g is None:
        return (None,)
    places = flat_row_indices(indices, x.shape[-1])
    summed = scatter_add(reshape(g, shape=(g.spec.count,)), places, rows=x.spec.count)
    return (reshape(summed, shape=tuple(x.shape)),)


def _row_shape(x: TensorSpec) -> tuple[int, int]:
    return prod(x.shape[:-1]), x.shape[-1]


# ── whole rows ────────────────────────────────────────────────────────────────────────────────


def _sort_spec(x: TensorSpec, descending):
    _sortable("sort", x)
    return x, TensorSpec(x.shape, dtypes.int32)


def _sort(np, x, descending):
    order = _stable_argsort(np, x, descending)
    return np.take_along_axis(x, order, -1), order


# (values, indices) of rows of at most LONGEST_ROW.
sort = primitive(
    "sort", "kernel", _sort_spec, _take_vjp, _sort, kernel_call=lambda specs, outs, descending: (
        "sort", (*_row_shape(specs[0]), int(specs[0].dtype.is_floating), int(descending)),
        16 * specs[0].count))


def _top_spec(x: TensorSpec, k):
    _sortable("top_k", x)
    return TensorSpec((*x.shape[:-1], k), x.dtype), TensorSpec((*x.shape[:-1], k), dtypes.int32)


def _top(np, x, k):
    order = _stable_argsort(np, x, True)[..., :k]
    return np.take_along_axis(x, order, -1), order


# (values, indices) of the k highest of each row, in descending order; k is at most LONGEST_ROW.
top_k = primitive(
    "top_k", "kernel", _top_spec, _take_vjp, _top, kernel_call=lambda specs, outs, k: (
        "top_k", (*_row_shape(specs[0]), k, int(specs[0].dtype.is_floating)),
        specs[0].count + 16 * outs[0].count))

# ── long rows, in passes that all threads share ───────────────────────────────────────────────
# An item is (place in its row, key): 32 bits each, and the keys, as unsigned, order as the numbers.


def _items_spec(x: TensorSpec, descending) -> TensorSpec:
    _sortable("sort", x)
    return TensorSpec((*_row_shape(x), 2), dtypes.int32)


def _radix_keys(np, x, descending):
    if x.dtype.kind == "f":
        bits = (x.astype("float32") + np.float32(0)).view("int32")          # -0 is 0
        keys = bits.view("uint32") ^ np.where(bits < 0, 0xFFFFFFFF, 1 << 31).astype("uint32")
        keys = np.where(np.isnan(x), np.uint32(0xFFFFFFFF), keys)
    else:
        keys = x.view("uint32") ^ np.uint32(1 << 31)
    shape = prod(x.shape[:-1]), x.shape[-1]
    keys = (~keys if descending else keys).view("int32").reshape(shape)
    places = np.broadcast_to(np.arange(shape[1], dtype="int32"), shape)
    return np.stack([places, keys], -1)


radix_keys = primitive(
    "radix_keys", "kernel", _items_spec, None, _radix_keys, kernel_call=lambda specs, out, descending: (
        "radix_keys", (*_row_shape(specs[0]), int(specs[0].dtype.is_floating), int(descending)),
        2 * specs[0].count))


def _digits(np, items, digit):
    return items[..., 1].view("uint32") >> np.uint32(8 * digit) & np.uint32(DIGITS - 1)


def _radix_histogram(np, items, digit, parts):
    rows, n = items.shape[:2]
    digits, cuts = _digits(np, items, digit), [n * i // parts for i in range(parts + 1)]
    return np.array([[np.bincount(row[a:b], minlength=DIGITS) for a, b in zip(cuts, cuts[1:])]
                     for row in digits], "int32").reshape(rows, parts, DIGITS)


# How often each digit of the keys occurs in each part of a row.
radix_histogram = primitive(
    "radix_histogram", "kernel",
    lambda items, digit, parts: TensorSpec((items.shape[0], parts, DIGITS), dtypes.int32), None, _radix_histogram,
    kernel_call=lambda specs, out, digit, parts: ("radix_histogram", (*specs[0].shape[:2], parts, digit),
                                           specs[0].count))


def _radix_scatter(np, items, counts, digit):
    order = np.argsort(_digits(np, items, digit), -1, kind="stable")
    return np.take_along_axis(items, order[..., None], 1)


# The items in the stable order of one digit.
radix_scatter = primitive(
    "radix_scatter", "kernel", lambda items, counts, digit: items, None, _radix_scatter,
    kernel_call=lambda specs, out, digit: (
        "radix_scatter", (*specs[0].shape[:2], specs[1].shape[1], digit), 2 * specs[0].count))
