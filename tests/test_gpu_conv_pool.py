"""GPU convolution and pooling against the reference implementations, in float64."""
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
    # LeNet, the digits example, the first and later layers of ResNet
    (2, 28, 28, 1, 5, 5, 6, (1, 1), (1, 1), (2, 2, 2, 2), 1),
    (2, 14, 14, 6, 5, 5, 16, (1, 1), (1, 1), (0, 0, 0, 0), 1),
    (16, 4, 4, 32, 3, 3, 64, (1, 1), (1, 1), (1, 1, 1, 1), 1),
    (1, 56, 56, 3, 7, 7, 64, (2, 2), (1, 1), (2, 2, 3, 3), 1),
    (2, 14, 14, 64, 3, 3, 128, (2, 2), (1, 1), (0, 0, 1, 1), 1),
    (1, 7, 7, 256, 3, 3, 68, (1, 1), (1, 1), (1, 1, 1, 1), 1),
    # grouped, depthwise, with a channel multiplier
    (2, 6, 5, 6, 3, 3, 9, (1, 1), (1, 1), (1, 1, 1, 1), 3),
    (2, 6, 5, 4, 2, 2, 8, (2, 1), (1, 1), (0, 0, 1, 1), 2),
    # more phases than the maximum number of workgroups of a dimension
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


def conv_attrs(case):
    """Return the attributes of the primitive for a line of the table."""
    n, h, w, c, kh, kw, co, (sh, sw), (dh, dw), (top, left, bottom, right), groups = case
    oh = max(0, (h + top + bottom - (kh - 1) * dh - 1) // sh + 1)
    ow = max(0, (w + left + right - (kw - 1) * dw - 1) // sw + 1)
    return {"image": (n, h, w, c), "filter": (kh, kw, c // groups, co), "result": (n, oh, ow, co),
            "strides": (sh, sw), "dilations": (dh, dw), "pads": (top, left), "groups": groups}


CONVOLUTIONS = {  # kernel -> its two arguments, its result, its reference implementation
    "conv2d": ("image", "filter", "result", conv_reference.conv_reference),
    "conv2d_input_grad": ("result", "filter", "image", conv_reference.conv_input_grad_reference),
    "conv2d_filter_grad": ("image", "result", "filter", conv_reference.conv_filter_grad_reference),
}


def check_conv(kernel, case, on_device=None, dtype="f4", tolerance=1e-5):
    *arg_names, out, reference = CONVOLUTIONS[kernel]
    attrs = conv_attrs(case)
    args = [floats(*attrs[name], seed=i).astype(dtype) for i, name in enumerate(arg_names)]
    actual, = run(kernel, args, [(attrs[out], dtype)],
                  *conv_reference.conv_kernel_params(**attrs), device_info=on_device)
    expected = reference(np, *(x.astype("f8") for x in args), **attrs)
    magnitude = reference(np, *(np.abs(x).astype("f8") for x in args), **attrs)
    wrong = ~(np.abs(actual - expected) <= tolerance * magnitude)
    assert not wrong.any(), f"{wrong.sum()} of {wrong.size} differ, first at " \
        f"{np.argwhere(wrong)[0].tolist()}: {actual[wrong][0]}, expected {expected[wrong][0]}"


@pytest.mark.slow
@pytest.mark.parametrize("case", CONV, ids=str)
@pytest.mark.parametrize("kernel", CONVOLUTIONS)
def test_convolution(kernel, case):
    check_conv(kernel, case)


@pytest.mark.parametrize("kernel", CONVOLUTIONS)
def test_more_tiles_than_the_workgroup_limit_of_a_dimension(kernel):
    check_conv(kernel, (2, 30, 31, 3, 3, 3, 70, (1, 1), (1, 1), (1, 1, 1, 1), 1),
               device_info(max_workgroups=7))
    check_conv(kernel, (2, 15, 11, 6, 3, 3, 6, (1, 1), (1, 1), (1, 1, 1, 1), 6),
               device_info(max_workgroups=7))


REPRESENTATIVE = [case for case in CONV if case[:4] in (
    (2, 9, 7, 4), (1, 5, 5, 300), (2, 6, 5, 6), (5, 15, 13, 20))]


@pytest.mark.parametrize("case", REPRESENTATIVE, ids=str)
@pytest.mark.parametrize("kernel", CONVOLUTIONS)
def test_convolution_of_float16(kernel, case):
    """Sums are in float32 and rounded once."""
    check_conv(kernel, case, dtype="f2", tolerance=2**-11)


@pytest.mark.slow
@pytest.mark.parametrize("case", REPRESENTATIVE, ids=str)
@pytest.mark.parametrize("kernel", CONVOLUTIONS)
def test_a_cast_on_load_equals_a_cast_before_the_kernel(kernel, case):
    """Bit for bit, whichever argument is cast, for a float16 and a float32 result."""
    *arg_names, out, _ = CONVOLUTIONS[kernel]
    attrs = conv_attrs(case)
    wide = [floats(*attrs[name], seed=i) for i, name in enumerate(arg_names)]
    narrow = [x.astype("f2") for x in wide]
    for dtype in ("f2", "f4"):
        expected, *actual = (
            run(kernel, args, [(attrs[out], dtype)], *conv_reference.conv_kernel_params(**attrs),
                operand_dtypes=2 * [float16])
            for args in (narrow, wide, (wide[0], narrow[1]), (narrow[0], wide[1])))
        for result, in actual:
            np.testing.assert_array_equal(result, expected[0])


@pytest.mark.slow
@pytest.mark.parametrize("kernel", CONVOLUTIONS)
def test_convolution_with_the_tallest_tiles(kernel, monkeypatch):
    """Tiles that are otherwise selected only for images too large for a test."""
    monkeypatch.setattr(conv, "TARGET_WORKGROUPS", 1)
    check_conv(kernel, (2, 9, 11, 19, 3, 3, 68, (2, 1), (1, 1), (1, 1, 1, 1), 1))
    check_conv(kernel, (2, 9, 11, 20, 3, 3, 20, (1, 1), (1, 1), (1, 1, 1, 1), 1),
               device_info(is_software=False))


@pytest.mark.slow
@pytest.mark.parametrize("kernel", CONVOLUTIONS)
def test_convolution_on_hardware_adapters(kernel):
    for case in REPRESENTATIVE:
        check_conv(kernel, case, device_info(is_software=False))


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
EMPTY = (1, 3, 3, 2, (1, 1), (2, 2), (1, 1, 1, 1))          # the outer windows have no pixel


def pool_attrs(case):
    n, h, w, c, (kh, kw), (sh, sw), (top, left, bottom, right) = case
    oh, ow = (h + top + bottom - kh) // sh + 1, (w + left + right - kw) // sw + 1
    return {"image": (n, h, w, c), "result": (n, oh, ow, c), "window": (kh, kw),
            "strides": (sh, sw), "pads": (top, left)}


def tied(*shape, seed=0):
    """Small integers, so that maxima tie, with some NaN, infinities and -0."""
    x = np.random.default_rng([seed, *shape]).integers(-2, 3, shape).astype("f4")
    x.flat[::17] = np.nan
    x.flat[5::23] = -np.inf
    x.flat[7::19] = np.copysign(0, -1)
    return x


def check_pool(kernel, args, out, reference, attrs, tolerance=0.0):
    dtype = args[0].dtype
    actual, = run(kernel, args, [(attrs[out], dtype)], *conv_reference.pool_kernel_params(**attrs))
    expected = conv_reference.pool_reference(reference)(np, *args, **attrs)
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=4 * tolerance)


@pytest.mark.parametrize("make", [floats, tied])
@pytest.mark.parametrize("case", [*POOL, EMPTY], ids=str)
def test_max_pool(case, make):
    attrs = pool_attrs(case)
    x, y, g = make(*attrs["image"]), floats(*attrs["image"], seed=1), floats(*attrs["result"])
    check_pool("max_pool", [x], "result", "max", attrs)
    check_pool("max_pool_select", [y, x], "result", "select", attrs)
    check_pool("max_pool_scatter", [g, x], "image", "scatter", attrs, 1e-6)


@pytest.mark.parametrize("case", POOL[2:4], ids=str)
def test_pools_of_float16(case):
    attrs = pool_attrs(case)
    x, g = tied(*attrs["image"]).astype("f2"), floats(*attrs["result"]).astype("f2")
    check_pool("max_pool", [x], "result", "max", attrs)
    check_pool("max_pool_scatter", [g, x], "image", "scatter", attrs, 2**-10)
    check_pool("avg_pool", [floats(*x.shape).astype("f2")], "result", "avg", attrs, 2**-10)
    check_pool("avg_pool_grad", [g], "image", "avg_grad", attrs, 2**-10)


@pytest.mark.parametrize("case", POOL, ids=str)
def test_avg_pool(case):
    attrs = pool_attrs(case)
    check_pool("avg_pool", [floats(*attrs["image"])], "result", "avg", attrs, 1e-6)
    check_pool("avg_pool_grad", [floats(*attrs["result"])], "image", "avg_grad", attrs, 1e-6)


def test_the_average_of_an_empty_window_is_0():
    attrs = pool_attrs(EMPTY)
    x, g = floats(*attrs["image"]), floats(*attrs["result"])
    params = conv_reference.pool_kernel_params(**attrs)
    averages, = run("avg_pool", [x], [(attrs["result"], "f4")], *params)
    dx, = run("avg_pool_grad", [g], [(attrs["image"], "f4")], *params)
    expected_averages, expected_dx = np.zeros_like(g), np.zeros_like(x)
    expected_averages[:, 1, 1], expected_dx[:, 1, 1] = x[:, 1, 1], g[:, 1, 1]
    np.testing.assert_array_equal(averages, expected_averages)
    np.testing.assert_array_equal(dx, expected_dx)
