"""Whether all gradients are finite: who decides it, who asks, and that nobody is overlooked."""
import numpy as np
import pytest

import tensorbrook as tf
from backends import on
from tensorbrook.backends.webgpu import target_info
from tensorbrook.backends.webgpu.device_info import DeviceInfo
from tensorbrook.compiler import fuse, build_plan, simplify, lower_float16
from tensorbrook.ir import LoopKernel, FiniteCheckStore
from tensorbrook.ir.verifier import verify_plan

LIMITS = target_info(DeviceInfo(f16=True))


def finite(*tensors):
    """As LossScaleOptimizer asks it."""
    found = tf.constant(True)
    for x in tensors:
        found = tf.logical_and(tf.reduce_all(tf.math.is_finite(x)), found)
    return found


def wide(x):
    return tf.cast(x, tf.float32)


def product(a, b, **turns):
    return tf.matmul(wide(a), wide(b), **turns)


def slope(image, g, width, strides=1):
    """The gradient of a filter that goes over an image, for those of the result."""
    image, g = (tf.reshape(wide(a), (1, *a.shape, 1)) for a in (image, g))
    w = tf.ones((width, width, 1, 1))
    with tf.GradientTape() as tape:
        tape.watch(w)
        out = tf.nn.conv2d(image, w, strides=strides, padding="VALID")
    return tape.gradient(out, w, g)


DECIDING = {  # of tensors x and y, float16 of (4, 5) and (5, 6), and z, float32 of (4, 5)
    "a product: both sides": (lambda x, y, z: [product(x, y)], "x y"),
    "turned, in another shape": (
        lambda x, y, z: [tf.reshape(product(y, x, transpose_a=True, transpose_b=True), (3, 8))],
        "x y"),
    "a side twice": (lambda x, y, z: [product(x, y), product(x, x, transpose_b=True)], "x y"),
    "a sum of a side": (lambda x, y, z: [product(x, y), tf.reduce_sum(wide(y), 0)], "x y"),
    "a sum of what is nowhere": (lambda x, y, z: [tf.reduce_sum(wide(tf.exp(x)), 0)], "sum"),
    "a product of float32": (lambda x, y, z: [tf.matmul(z, wide(y))], "product"),
    "a product that is rounded": (lambda x, y, z: [tf.matmul(x, y)], "product"),
    "a slice of a product": (lambda x, y, z: [product(x, y)[1:]], "product"),
    "a filter's gradient: both sides": (lambda x, y, z: [slope(y, x, 2)], "x y"),
    "one that leaves pixels out": (lambda x, y, z: [slope(y[1:], x[:2, :3], 1, 2)], "product"),
    "float32": (lambda x, y, z: [product(x, y), z], "x y z"),
}


def arguments():
    draw = np.random.default_rng(3)
    return [tf.constant(draw.normal(size=shape).astype(dtype))
            for shape, dtype in (((4, 5), "f2"), ((5, 6), "f2"), ((4, 5), "f4"))]


@pytest.mark.parametrize("name", DECIDING)
def test_who_decides(name):
    f, right = DECIDING[name]
    with on("reference"):
        graph = tf.function(lambda *xs: finite(*f(*xs))).get_concrete_function(*arguments()).graph
    graph = simplify(lower_float16(graph, LIMITS))
    asked, = (e for e in graph.eqns if e.prim.name == "all_finite")
    names = dict(zip(graph.inputs, "xyz"))
    makers = {e.out: {"reduce_sum": "sum"}.get(e.prim.name, "product") for e in graph.eqns}
    assert " ".join(sorted(names.get(a) or makers[a] for a in asked.args)) == right


@pytest.mark.parametrize("bad", [None, np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("name", DECIDING)
def test_nobody_is_overlooked(name, bad):
    """Wherever in what comes in a number is not finite, the truth is that of the values."""
    f, _ = DECIDING[name]
    run = tf.function(lambda *xs: finite(*f(*xs)))
    for at in range(3 if bad is not None else 1):
        xs = arguments()
        if bad is not None:
            broken = np.array(xs[at])
            broken[-1, 2] = bad
            xs[at] = tf.constant(broken)
        with on("reference"):
            right = bool(run(*xs))
        with on("webgpu"):
            assert bool(run(*xs)) == right


def made_of(f, *xs):
    graph = simplify(lower_float16(tf.function(f).get_concrete_function(*xs).graph, LIMITS))
    made = build_plan(graph, *fuse(graph, LIMITS), LIMITS)
    verify_plan(made)
    return made


def marks(made) -> list[list[FiniteCheckStore]]:
    """Those of each kernel."""
    loops = [k if isinstance(k, LoopKernel) else k.epilogue for k in (s.kernel for s in made.steps)]
    return [[s for s in loop.stores if isinstance(s, FiniteCheckStore)] for loop in loops if loop]


def test_who_makes_a_number_asks():
    """In an epilogue, in a loop, after a fold; what comes in is read, several of a size at once."""
    def f(x, w):
        y = tf.nn.relu(tf.matmul(x, w))
        z = tf.exp(y * 2.0)
        norm = tf.reduce_sum(wide(x) * 3.0, 1)
        return finite(product(y, z), norm, x, x * 2, w), y, z, norm

    x = tf.constant(np.ones((8, 8), "float16"))
    with on("reference"):
        made = made_of(f, x, x + 1)
    assert sorted(map(len, marks(made))) == [0, 2, 2, 2]
    assert "= false unless v" in str(made)
    with on("webgpu"):
        run = tf.function(f)
        assert run(x, x * 0.1)[0] and not run(x, x)[0]            # exp(16) is no float16


def test_two_truths_are_told_apart():
    def f(x, y):
        a, b = finite(x), finite(y, x * 0.5)
        return tf.where(a, 1.0, 0.0), tf.where(b, 1.0, 0.0), tf.logical_and(a, b)

    good, bad = (tf.constant(np.full((3,), n, "float16")) for n in (1.0, np.inf))
    with on("webgpu"):
        run = tf.function(f)
        for x, y, right in ((good, good, (1, 1, 1)), (good, bad, (1, 0, 0)),
                            (bad, good, (0, 0, 0))):
            assert tuple(map(int, run(x, y))) == right


def test_many_rows_and_long_sums_are_asked_for_too():
    """Where a fold is two dispatches, and where a workgroup has several rows."""
    def f(x):
        rows, all_of_it = tf.reduce_sum(wide(x) * 2.0, 1), tf.reduce_sum(wide(x) * 2.0)
        return finite(rows), finite(all_of_it, x[0, 0]), rows, all_of_it

    x = np.ones((300, 100), "float16")
    with on("webgpu"):
        run = tf.function(f)
        assert [bool(ok) for ok in run(tf.constant(x))[:2]] == [True, True]
        x[299, 99] = np.nan
        assert [bool(ok) for ok in run(tf.constant(x))[:2]] == [False, False]
