"""The GPU's convolutions and pools against what their primitives mean, in double precision."""
import numpy as np
import pytest
from wgsl_runner import device_info, run

from tensorbrook.backends.webgpu.kernels import conv
from tensorbrook.base.dtypes import float16
from tensorbrook.ops import conv_reference

CONV = [  # n, h, w, c, kh, kw, co, strides, dilations, padding (top, left, bottom, right), groups
    (1, 1, 1, 1, 1, 1, 1, (1, 1), (1, 1), (0, 0, 0, 0), 1),
    (3, 8, 8, 1, 3, 3, 16, (1, 1), (1, 1), (1, 1, 1, 1), 1),
    (2, 7, 9, 3, 3, 2, 5, (1, 1), (1, 1), (0, 1, 1, 0), 1),
    (2, 9, 7, 4, 3, 3, 9, (2, 2), (1, 1), (1, 1, 1, 1), 1),
    (2, 9, 8, 3, 3, 3, 7, (2, 3), (1, 1), (0, 1, 0, 2), 1),
    (2, 11, 10, 5, 3, 3, 6, (1, 1), (2, 3), (2, 3, 2, 3), 1),
    (1, 13, 12, 3, 3, 3, 4, (3, 2), (2, 2), (1, 2, 3, 2), 1),
    (1, 15, 11, 4, 3, 4, 8, (4, 6), (2, 4), (1, 2, 3, 2), 1),
    (1, 12, 12, 2, 2, 2, 3, (4, 4), (1, 1), (0, 0, 0, 0), 1),
    (3, 6, 6, 7, 1, 1, 12, (2, 2), (1, 1), (0, 0, 0, 0), 1),
    (4, 5, 5, 33, 1, 1, 17, (1, 1), (1, 1), (0, 0, 0, 0), 1),
    (1, 5, 5, 300, 3, 3, 20, (1, 1), (1, 1), (1, 1, 1, 1), 1),
    (1, 40, 60, 3, 5, 5, 4, (1, 1), (1, 1), (2, 2, 2, 2), 1),
    (1, 2, 2, 3, 5, 5, 4, (1, 1), (1, 1), (3, 4, 3, 2), 1),
    (2, 2, 2, 1, 3, 3, 4, (1, 1), (1, 1), (0, 0, 0, 0), 1),
    (0, 4, 4, 2, 3, 3, 2, (1, 1), (1, 1), (0, 0, 0, 0), 1),
    (2, 3, 3, 2, 2, 2, 0, (1, 1), (1, 1), (0, 0, 0, 0), 1),
    (2, 3, 3, 0, 2, 2, 2, (1, 1), (1, 1), (0, 0, 0, 0), 1),
    # LeNet, the digits, ResNet's first and later layers
    (2, 28, 28, 1, 5, 5, 6, (1, 1), (1, 1), (2, 2, 2, 2), 1),
    (2, 14, 14, 6, 5, 5, 16, (1, 1), (1, 1), (0, 0, 0, 0), 1),
    (16, 4, 4, 32, 3, 3, 64, (1, 1), (1, 1), (1, 1, 1, 1), 1),
    (1, 56, 56, 3, 7, 7, 64, (2, 2), (1, 1), (2, 2, 3, 3), 1),
    (2, 14, 14, 64, 3, 3, 128, (2, 2), (1, 1), (0, 0, 1, 1), 1),
    (1, 7, 7, 256, 3, 3, 68, (1, 1), (1, 1), (1, 1, 1, 1), 1),
    # groups, depthwise, with a multiplier
    (2, 6, 5, 6, 3, 3, 9, (1, 1), (1, 1), (1, 1, 1, 1), 3),
    (2, 6, 5, 4, 2, 2, 8, (2, 1), (1, 1), (0, 0, 1, 1), 2),
    # more phases than a device takes workgroups along an axis
    (1, 2, 65540, 1, 1, 2, 1, (2, 32768), (1, 1), (0, 0, 0, 0), 1),
    (2, 8, 8, 40, 3, 3, 48, (1, 1), (1, 1), (1, 1, 1, 1), 2),
    (2, 9, 8, 34, 3, 3, 36, (2, 2), (1, 1), (0, 0, 1, 1), 2),
    (2, 7, 6, 5, 3, 3, 5, (1, 1), (1, 1), (1, 1, 1, 1), 5),
    (2, 8, 7, 20, 3, 3, 20, (2, 2), (2, 1), (1, 1, 1, 1), 20),
    (5, 15, 13, 20, 5, 5, 20, (1, 1), (1, 1), (2, 2, 2, 2), 20),
    (3, 9, 8, 7, 2, 3, 14, (1, 2), (1, 1), (1, 1, 0, 1), 7),
]


def floats(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape, dtype="f4")


def conv_of(case):
    """What describes a line of the table to the primitive."""
    n, h, w, c, kh, kw, co, (sh, sw), (dh, dw), (top, left, bottom, right), groups = case
    oh = max(0, (h + top + bottom - (kh - 1) * dh - 1) // sh + 1)
    ow = max(0, (w + left + right - (kw - 1) * dw - 1) // sw + 1)
    return {"image": (n, h, w, c), "filter": (kh, kw, c // groups, co), "result": (n, oh, ow, co),
            "strides": (sh, sw), "dilations": (dh, dw), "pads": (top, left), "groups": groups}


CONVOLUTIONS = {  # function -> its two arguments and its result, its meaning
    "conv2d": ("image", "filter", "result", conv_reference.conv_reference),
    "conv2d_input_grad": ("result", "filter", "image", conv_reference.conv_input_grad_reference),
    "conv2d_filter_grad": ("image", "result", "filter", conv_reference.conv_filter_grad_reference),
}


def check_conv(function, case, on=None, dtype="f4", tolerance=1e-5):
    *of, out, meaning = CONVOLUTIONS[function]
    attrs = conv_of(case)
    args = [floats(*attrs[name], seed=i).astype(dtype) for i, name in enumerate(of)]
    found, = run(function, args, [(attrs[out], dtype)],
                 *conv_reference.conv_kernel_params(**attrs), device_info=on)
    wanted = meaning(np, *(x.astype("f8") for x in args), **attrs)
    size = meaning(np, *(np.abs(x).astype("f8") for x in args), **attrs)
    wrong = ~(np.abs(found - wanted) <= tolerance * size)
    assert not wrong.any(), f"{wrong.sum()} of {wrong.size} differ, first at " \
        f"{np.argwhere(wrong)[0].tolist()}: {found[wrong][0]} for {wanted[wrong][0]}"


@pytest.mark.slow
@pytest.mark.parametrize("case", CONV, ids=str)
@pytest.mark.parametrize("function", CONVOLUTIONS)
def test_convolution(function, case):
    check_conv(function, case)


@pytest.mark.parametrize("function", CONVOLUTIONS)
def test_more_tiles_than_a_dimension_takes(function):
    check_conv(function, (2, 30, 31, 3, 3, 3, 70, (1, 1), (1, 1), (1, 1, 1, 1), 1),
               device_info(max_workgroups=7))
    check_conv(function, (2, 15, 11, 6, 3, 3, 6, (1, 1), (1, 1), (1, 1, 1, 1), 6),
               device_info(max_workgroups=7))


OF_EACH_KIND = [case for case in CONV if case[:4] in (
    (2, 9, 7, 4), (1, 5, 5, 300), (2, 6, 5, 6), (5, 15, 13, 20))]


@pytest.mark.parametrize("case", OF_EACH_KIND, ids=str)
@pytest.mark.parametrize("function", CONVOLUTIONS)
def test_convolution_of_float16(function, case):
    """Added up in float32, rounded once."""
    check_conv(function, case, dtype="f2", tolerance=2**-11)


@pytest.mark.slow
@pytest.mark.parametrize("case", OF_EACH_KIND, ids=str)
@pytest.mark.parametrize("function", CONVOLUTIONS)
def test_a_cast_while_loading_is_the_cast_before(function, case):
    """The same bits, whichever argument is cast, and whether the result is float16 or float32."""
    *of, out, _ = CONVOLUTIONS[function]
    attrs = conv_of(case)
    wide = [floats(*attrs[name], seed=i) for i, name in enumerate(of)]
    halves = [x.astype("f2") for x in wide]
    for dtype in ("f2", "f4"):
        right, *found = (
            run(function, args, [(attrs[out], dtype)], *conv_reference.conv_kernel_params(**attrs),
                loads=2 * [float16])
            for args in (halves, wide, (wide[0], halves[1]), (halves[0], wide[1])))
        for each, in found:
            np.testing.assert_array_equal(each, right[0])


@pytest.mark.slow
@pytest.mark.parametrize("function", CONVOLUTIONS)
def test_convolution_in_the_tallest_tiles(function, monkeypatch):
    """Those of images so large that no test waits for them."""
    monkeypatch.setattr(conv, "TARGET_WORKGROUPS", 1)
    check_conv(function, (2, 9, 11, 19, 3, 3, 68, (2, 1), (1, 1), (1, 1, 1, 1), 1))
    check_conv(function, (2, 9, 11, 20, 3, 3, 20, (1, 1), (1, 1), (1, 1, 1, 1), 1),
               device_info(is_software=False))


@pytest.mark.slow
@pytest.mark.parametrize("function", CONVOLUTIONS)
def test_convolution_as_a_fast_device_takes_it(function):
    for case in OF_EACH_KIND:
        check_conv(function, case, device_info(is_software=False))


# ── pools ─────────────────────────────────────────────────────────────────────────────────────

POOL = [  # n, h, w, c, kernel, stride, padding (top, left, bottom, right)
    (1, 1, 1, 1, (1, 1), (1, 1), (0, 0, 0, 0)),
    (2, 8, 8, 16, (2, 2), (2, 2), (0, 0, 0, 0)),
    (3, 7, 5, 3, (2, 2), (2, 2), (0, 0, 1, 1)),
    (2, 7, 9, 5, (3, 2), (1, 2), (1, 1, 1, 0)),
    (1, 5, 6, 9, (3, 3), (1, 1), (1, 2, 2, 2)),
    (1, 14, 14, 8, (3, 3), (2, 2), (0, 0, 1, 1)),
    (1, 4, 4, 1, (2, 3), (3, 1), (0, 0, 0, 0)),
    (0, 4, 4, 3, (2, 2), (2, 2), (0, 0, 0, 0)),
    (1, 3, 3, 0, (2, 2), (1, 1), (0, 0, 0, 0)),
    (1, 2, 2, 3, (3, 3), (1, 1), (0, 0, 0, 0)),
    (2, 9, 7, 7, (3, 2), (4, 5), (1, 0, 1, 1)),
    (3, 4, 5, 21, (4, 5), (4, 5), (0, 0, 0, 0)),
]
EMPTY = (1, 3, 3, 2, (1, 1), (2, 2), (1, 1, 1, 1))          # the outer windows hold no cell


def pool_of(case):
    n, h, w, c, (kh, kw), (sh, sw), (top, left, bottom, right) = case
    oh, ow = (h + top + bottom - kh) // sh + 1, (w + left + right - kw) // sw + 1
    return {"image": (n, h, w, c), "result": (n, oh, ow, c), "window": (kh, kw),
            "strides": (sh, sw), "pads": (top, left)}


def tied(*shape, seed=0):
    """Small whole numbers, so that maxima tie, with NaN and infinities among them."""
    x = np.random.default_rng([seed, *shape]).integers(-2, 3, shape).astype("f4")
    x.flat[::17] = np.nan
    x.flat[5::23] = -np.inf
    x.flat[7::19] = np.copysign(0, -1)
    return x


def check_pool(function, args, out, meaning, attrs, tolerance=0.0):
    kind = args[0].dtype
    found, = run(function, args, [(attrs[out], kind)], *conv_reference.pool_kernel_params(**attrs))
    wanted = conv_reference.pool_reference(meaning)(np, *args, **attrs)
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=4 * tolerance)


@pytest.mark.parametrize("make", [floats, tied])
@pytest.mark.parametrize("case", [*POOL, EMPTY], ids=str)
def test_max_pool(case, make):
    attrs = pool_of(case)
    x, y, g = make(*attrs["image"]), floats(*attrs["image"], seed=1), floats(*attrs["result"])
    check_pool("max_pool", [x], "result", "max", attrs)
    check_pool("max_pool_select", [y, x], "result", "select", attrs)
    check_pool("max_pool_scatter", [g, x], "image", "scatter", attrs, 1e-6)


@pytest.mark.parametrize("case", POOL[2:4], ids=str)
def test_pools_of_float16(case):
    attrs = pool_of(case)
    x, g = tied(*attrs["image"]).astype("f2"), floats(*attrs["result"]).astype("f2")
    check_pool("max_pool", [x], "result", "max", attrs)
    check_pool("max_pool_scatter", [g, x], "image", "scatter", attrs, 2**-10)
    check_pool("avg_pool", [floats(*x.shape).astype("f2")], "result", "avg", attrs, 2**-10)
    check_pool("avg_pool_grad", [g], "image", "avg_grad", attrs, 2**-10)


@pytest.mark.parametrize("case", POOL, ids=str)
def test_avg_pool(case):
    attrs = pool_of(case)
    check_pool("avg_pool", [floats(*attrs["image"])], "result", "avg", attrs, 1e-6)
    check_pool("avg_pool_grad", [floats(*attrs["result"])], "image", "avg_grad", attrs, 1e-6)


def test_the_mean_of_no_cells_is_0():
    attrs = pool_of(EMPTY)
    x, g = floats(*attrs["image"]), floats(*attrs["result"])
    numbers = conv_reference.pool_kernel_params(**attrs)
    means, = run("avg_pool", [x], [(attrs["result"], "f4")], *numbers)
    shares, = run("avg_pool_grad", [g], [(attrs["image"], "f4")], *numbers)
    wanted, spread = np.zeros_like(g), np.zeros_like(x)
    wanted[:, 1, 1], spread[:, 1, 1] = x[:, 1, 1], g[:, 1, 1]
    np.testing.assert_array_equal(means, wanted)
    np.testing.assert_array_equal(shares, spread)
