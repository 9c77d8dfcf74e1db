"""Reference implementations of convolution, pooling and Philox in NumPy, and kernel parameters.

Attributes of a convolution are the shapes `image` (n, h, w, c), `filter` (kh, kw, c / groups, co)
and `result` (n, oh, ow, co); `strides`, `dilations`, `pads` (top, left) and `groups`. Attributes of
pooling are `image`, `result`, `window`, `strides` and `pads`. The functions in nn.py validate them.
"""
from math import prod

from ..base import dtypes
from ..ir import TensorSpec


def conv_spec(which: str):
    """The shape rule of a convolution ("out"), its input ("x") or filter gradient ("w")."""
    attr = {"out": "result", "x": "image", "w": "filter"}[which]

    def spec(a: TensorSpec, b: TensorSpec, **attrs) -> TensorSpec:
        return TensorSpec(attrs[attr], dtypes.require_same_dtype("conv2d", a.dtype, b.dtype))

    return spec


def conv_kernel_params(image, filter, result, strides, dilations, pads, groups):
    return (*image, *filter[:2], *result[3:], *result[1:3], *strides, *dilations, *pads, groups)


def conv_flops(image, filter, result, groups, **_) -> int:
    return 2 * prod(result) * prod(filter[:3])


def _iter_taps(image, window, result, strides, dilations, pads):
    """(i, j, output slices, image slices) for each tap (i, j) of the window.

    The slices select the outputs for which the tap is inside of the image, and the image elements
    that it reads.
    """
    for i in range(window[0]):
        for j in range(window[1]):
            out_rows, rows = _tap_slices(
                i * dilations[0] - pads[0], strides[0], image[1], result[1])
            out_columns, columns = _tap_slices(
                j * dilations[1] - pads[1], strides[1], image[2], result[2])
            if out_rows.stop > out_rows.start and out_columns.stop > out_columns.start:
                yield i, j, (slice(None), out_rows, out_columns), (slice(None), rows, columns)


def _tap_slices(shift: int, stride: int, size_in: int, size_out: int) -> tuple[slice, slice]:
    """The outputs o, and the inputs o * stride + shift, for which the input index is in range."""
    first = max(0, -(shift // stride)) if shift < 0 else 0
    end = min(size_out, (size_in - 1 - shift) // stride + 1)
    begin_in = first * stride + shift
    end_in = max((end - 1) * stride + shift + 1, begin_in)
    return slice(first, max(end, first)), slice(begin_in, end_in, stride)


def _iter_groups(image, filter, groups):
    """(input channels, output channels) of each group, as slices."""
    c, co = image[3] // groups, filter[3] // groups
    for g in range(groups):
        yield slice(g * c, g * c + c), slice(g * co, g * co + co)


def conv_reference(np, x, w, image, filter, result, strides, dilations, pads, groups):
    y = np.zeros(result, x.dtype)
    for i, j, out, taps in _iter_taps(image, filter[:2], result, strides, dilations, pads):
        for c, co in _iter_groups(image, filter, groups):
            y[(*out, co)] += x[(*taps, c)] @ w[i, j, :, co]
    return y


def conv_input_grad_reference(np, g, w, image, filter, result, strides, dilations, pads, groups):
    dx = np.zeros(image, g.dtype)
    for i, j, out, taps in _iter_taps(image, filter[:2], result, strides, dilations, pads):
        for c, co in _iter_groups(image, filter, groups):
            dx[(*taps, c)] += g[(*out, co)] @ w[i, j, :, co].T
    return dx


def conv_filter_grad_reference(np, x, g, image, filter, result, strides, dilations, pads, groups):
    dw = np.zeros(filter, x.dtype)
    for i, j, out, taps in _iter_taps(image, filter[:2], result, strides, dilations, pads):
        for c, co in _iter_groups(image, filter, groups):
            dw[i, j, :, co] += np.tensordot(x[(*taps, c)], g[(*out, co)], ((0, 1, 2), (0, 1, 2)))
    return dw


def pool_spec(which: str):
    """The shape rule of pooling ("out"), or of its gradient ("x")."""
    attr = {"out": "result", "x": "image"}[which]

    def spec(*args: TensorSpec, **attrs) -> TensorSpec:
        return TensorSpec(
            attrs[attr], dtypes.require_same_dtype("pool", *(a.dtype for a in args)))

    return spec


def pool_kernel_params(image, result, window, strides, pads):
    return (*image, *result[1:3], *window, *strides, *pads)


def _extract_windows(np, x, image, result, window, strides, pads, fill):
    """The window of each output: (taps, *result), with `fill` outside of the image."""
    windows = np.full((prod(window), *result), fill, x.dtype)
    for i, j, out, taps in _iter_taps(image, window, result, strides, (1, 1), pads):
        windows[(i * window[1] + j, *out)] = x[taps]
    return windows


def _argmax_first(np, x, **attrs):
    """The tap with the maximum of each window; the first of equal ones; NaN is the greatest."""
    windows = _extract_windows(np, x, fill=-np.inf, **attrs)
    inside = _extract_windows(np, np.ones_like(x), fill=0, **attrs) > 0
    ordered = np.where(np.isnan(windows), np.inf, windows)
    maximum = np.where(inside, ordered, -np.inf).max(0)
    return ((ordered == maximum) & inside).argmax(0)


def _max_pool(np, x, **attrs):
    return _extract_windows(np, x, fill=-np.inf, **attrs).max(0)


def _max_pool_select(np, y, x, **attrs):
    windows = _extract_windows(np, y, fill=0, **attrs)
    return np.take_along_axis(windows, _argmax_first(np, x, **attrs)[None], 0)[0]


def _max_pool_scatter(np, g, x, image, result, window, strides, pads):
    attrs = {"image": image, "result": result, "window": window, "strides": strides, "pads": pads}
    argmax, dx = _argmax_first(np, x, **attrs), np.zeros(image, g.dtype)
    for i, j, out, taps in _iter_taps(image, window, result, strides, (1, 1), pads):
        dx[taps] += np.where(argmax[out] == i * window[1] + j, g[out], 0)
    return dx


def _valid_counts(np, dtype, **attrs):
    """The number of taps of each window that are inside of the image."""
    return _extract_windows(np, np.ones(attrs["image"], dtype), fill=0, **attrs).sum(0, dtype=dtype)


def _avg_pool(np, x, **attrs):
    total = _extract_windows(np, x, fill=0, **attrs).sum(0, dtype=x.dtype)
    return total / _valid_counts(np, x.dtype, **attrs)


def _avg_pool_grad(np, g, image, result, window, strides, pads):
    attrs = {"image": image, "result": result, "window": window, "strides": strides, "pads": pads}
    tap_grad, dx = g / _valid_counts(np, g.dtype, **attrs), np.zeros(image, g.dtype)
    for _, _, out, taps in _iter_taps(image, window, result, strides, (1, 1), pads):
        dx[taps] += tap_grad[out]
    return dx


def pool_reference(which: str):
    """The reference implementation of a pooling primitive."""
    return {"max": _max_pool, "select": _max_pool_select, "scatter": _max_pool_scatter,
            "avg": _avg_pool, "avg_grad": _avg_pool_grad}[which]


def philox_reference(np, state, shape):
    """Random bits by Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
    SC 2011).

    Block j of four words encrypts the 128-bit counter value: 64-bit counter + j, then zeros.
    """
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
