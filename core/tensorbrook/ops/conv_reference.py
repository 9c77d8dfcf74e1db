"""What the sliding-window primitives and Philox mean, in NumPy, and the numbers their kernels take.

Attributes of a convolution: `image` (n, h, w, c), `filter` (kh, kw, c / groups, co), `result`
(n, oh, ow, co), `strides`, `dilations`, `pads` (rows above, columns to the left), `groups`. Of
pooling: `image`, `result`, `window`, `strides`, `pads`. The functions in nn.py have checked them.
"""
from math import prod

from ..base import dtypes
from ..ir import TensorSpec


def conv_spec(which: str):
    """The shape rule of a convolution or of one of its gradients."""
    attr = {"out": "result", "x": "image", "w": "filter"}[which]

    def spec(a: TensorSpec, b: TensorSpec, **attrs) -> TensorSpec:
        return TensorSpec(attrs[attr], dtypes.require_same_dtype("conv2d", a.dtype, b.dtype))

    return spec


def conv_kernel_params(image, filter, result, strides, dilations, pads, groups):
    return (*image, *filter[:2], *result[3:], *result[1:3], *strides, *dilations, *pads, groups)


def conv_flops(image, filter, result, groups, **_) -> int:
    return 2 * prod(result) * prod(filter[:3])


def _iter_taps(np, x, image, window, result, strides, dilations, pads, fill=0):
    """For each cell (i, j) of the window: its row, column, and the image elements it meets in `x`,
    as (slices of the output, slices of the image) that lie inside."""
    for i in range(window[0]):
        for j in range(window[1]):
            spans = []
            for at, d, p, s, size, steps in (
                (i, dilations[0], pads[0], strides[0], image[1], result[1]),
                (j, dilations[1], pads[1], strides[1], image[2], result[2]),
            ):
                shift = at * d - p
                first = max(0, -(shift // s)) if shift < 0 else 0
                last = min(steps, (size - 1 - shift) // s + 1)
                spans.append(
                    (
                        slice(first, max(last, first)),
                        slice(
                            first * s + shift, max((last - 1) * s + shift + 1, first * s + shift), s
                        ),
                    )
                )
            (out_rows, rows), (out_columns, columns) = spans
            if out_rows.stop > out_rows.start and out_columns.stop > out_columns.start:
                yield i, j, (slice(None), out_rows, out_columns), (slice(None), rows, columns)


def _iter_groups(np, image, filter, groups):
    """For each group: its slice of the image's channels and of the output's."""
    c, co = image[3] // groups, filter[3] // groups
    for g in range(groups):
        yield slice(g * c, g * c + c), slice(g * co, g * co + co)


def conv_reference(np, x, w, image, filter, result, strides, dilations, pads, groups):
    y = np.zeros(result, x.dtype)
    for i, j, to, at in _iter_taps(np, x, image, filter[:2], result, strides, dilations, pads):
        for c, co in _iter_groups(np, image, filter, groups):
            y[(*to, co)] += x[(*at, c)] @ w[i, j, :, co]
    return y


def conv_input_grad_reference(np, g, w, image, filter, result, strides, dilations, pads, groups):
    dx = np.zeros(image, g.dtype)
    for i, j, to, at in _iter_taps(np, g, image, filter[:2], result, strides, dilations, pads):
        for c, co in _iter_groups(np, image, filter, groups):
            dx[(*at, c)] += g[(*to, co)] @ w[i, j, :, co].T
    return dx


def conv_filter_grad_reference(np, x, g, image, filter, result, strides, dilations, pads, groups):
    dw = np.zeros(filter, x.dtype)
    for i, j, to, at in _iter_taps(np, x, image, filter[:2], result, strides, dilations, pads):
        for c, co in _iter_groups(np, image, filter, groups):
            dw[i, j, :, co] += np.tensordot(x[(*at, c)], g[(*to, co)], ((0, 1, 2), (0, 1, 2)))
    return dw


def pool_spec(which: str):
    attr = {"out": "result", "x": "image"}[which]

    def spec(a: TensorSpec, *rest: TensorSpec, **attrs) -> TensorSpec:
        return TensorSpec(attrs[attr], dtypes.require_same_dtype("pool", a.dtype, *(r.dtype for r in rest)))

    return spec


def pool_kernel_params(image, result, window, strides, pads):
    return (*image, *result[1:3], *window, *strides, *pads)


def _extract_windows(np, x, image, result, window, strides, pads, fill):
    """The elements under each output's window: (cells of the window, *result), `fill` outside."""
    cells = np.full((prod(window), *result), fill, x.dtype)
    for i, j, to, at in _iter_taps(np, x, image, window, result, strides, (1, 1), pads):
        cells[(i * window[1] + j, *to)] = x[at]
    return cells


def _argmax_first(np, x, **attrs):
    """Which cell of each window holds its maximum: the first of several; NaN is highest."""
    cells = _extract_windows(np, x, fill=-np.inf, **attrs)
    inside = _extract_windows(np, np.ones_like(x), fill=0, **attrs) > 0
    ranked = np.where(np.isnan(cells), np.inf, cells)
    best = np.where(inside, ranked, -np.inf).max(0)
    return ((ranked == best) & inside).argmax(0)


def _max(np, x, **attrs):
    cells = _extract_windows(np, x, fill=-np.inf, **attrs)
    return cells.max(0)


def _max_pool_select(np, y, x, **attrs):
    cells = _extract_windows(np, y, fill=0, **attrs)
    return np.take_along_axis(cells, _argmax_first(np, x, **attrs)[None], 0)[0]


def _max_pool_scatter(np, g, x, image, result, window, strides, pads):
    attrs = {"image": image, "result": result, "window": window, "strides": strides, "pads": pads}
    best, dx = _argmax_first(np, x, **attrs), np.zeros(image, g.dtype)
    for i, j, to, at in _iter_taps(np, x, image, window, result, strides, (1, 1), pads):
        dx[at] += np.where(best[to] == i * window[1] + j, g[to], 0)
    return dx


def _valid_counts(np, dtype, **attrs):
    """How many cells of each window lie inside the image."""
    return _extract_windows(np, np.ones(attrs["image"], dtype), fill=0, **attrs).sum(0, dtype=dtype)


def _mean(np, x, **attrs):
    return _extract_windows(np, x, fill=0, **attrs).sum(0, dtype=x.dtype) / _valid_counts(np, x.dtype, **attrs)


def _avg_pool_grad(np, g, image, result, window, strides, pads):
    attrs = {"image": image, "result": result, "window": window, "strides": strides, "pads": pads}
    share, dx = g / _valid_counts(np, g.dtype, **attrs), np.zeros(image, g.dtype)
    for _, _, to, at in _iter_taps(np, g, image, window, result, strides, (1, 1), pads):
        dx[at] += share[to]
    return dx


def pool_reference(which: str):
    return {"max": _max, "select": _max_pool_select, "scatter": _max_pool_scatter, "mean": _mean, "spread": _avg_pool_grad}[
        which
    ]


def philox_reference(np, state, shape):
    """Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).

    Block j of four words encrypts the counter (counter + j, as 64 bits, then zeros)."""
    count = prod(shape)
    blocks = -(-count // 4)
    words = np.asarray(state).view("uint32").astype("uint64")
    key0, key1 = words[0], words[1]
    mask, thirty_two = np.uint64(0xFFFFFFFF), np.uint64(32)
    counter = (words[2] | words[3] << thirty_two) + np.arange(blocks, dtype="uint64")
    c0, c1 = counter & mask, counter >> thirty_two
    c2 = c3 = np.zeros(blocks, "uint64")
    for _ in range(10):
        left, right = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1, c2, c3 = ((right >> thirty_two) ^ c1 ^ key0, right & mask,
                          (left >> thirty_two) ^ c3 ^ key1, left & mask)
        key0, key1 = (key0 + np.uint64(0x9E3779B9)) & mask, (key1 + np.uint64(0xBB67AE85)) & mask
    out = np.stack([c0, c1, c2, c3], 1).astype("uint32").view("int32")
    return out.reshape(-1)[:count].reshape(shape)
