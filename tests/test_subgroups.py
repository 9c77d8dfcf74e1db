"""Trees of sums among the invocations of a subgroup, however many these are, and without them."""
import functools

import numpy as np
import pytest
import wgsl_runner
from attention_reference import check as check_attention
from backends import on
from plan_interpreter import plan_of
from fake_subgroups import WAYS, played
from test_gpu_gemm import check, strides

import tensorbrook as tf
from tensorbrook.backends.webgpu.kernels.gemm import TILES, GemmShape, TiledGemm, GemvGemm, gemm
from tensorbrook.backends.webgpu.device_info import DeviceInfo
from tensorbrook.backends.webgpu.subgroup_probe import WORKGROUP_SIZES, ANSWER_STRIDE, verify_subgroups
from tensorbrook.base.errors import InternalError

SHAPES = [(37, 20), (5, 300), (3, 515)]      # rows of 4, 32 and 256 lanes
PRODUCTS = [
    (GemmShape(2, 3, 34, 70, 0, 0), GemvGemm(False, True, 32, 8, 2, 36)),
    (GemmShape(1, 4, 136, 72, 0, 0), GemvGemm(False, True, 8, 32, 1, 72)),
    (GemmShape(3, 32, 2, 33, 1, 0), GemvGemm(True, True, 64, 4, 1, 36)),
    (GemmShape(2, 2, 20, 132, 0, 1), GemvGemm(False, False, 32, 8, 2, 68)),
    (GemmShape(1, 35, 3, 66, 0, 1), GemvGemm(True, False, 2, 128, 1, 68)),
    (GemmShape(1, 1, 3, 1100, 0, 1), GemvGemm(False, False, 256, 1, 1, 1100)),
    (GemmShape(1, 9, 9, 512), TiledGemm(TILES[2], 32, 16)),
]


def folds(x):
    """Folds of each type, in one pass and in three."""
    z = tf.exp(x - tf.reduce_max(x, 1, keepdims=True))
    y = z / tf.reduce_sum(z, 1, keepdims=True)
    whole = tf.cast(x * 100.0, tf.int32)
    return (y / tf.sqrt(tf.reduce_sum(y * y, 1, keepdims=True)), tf.reduce_sum(whole, 1),
            tf.reduce_any(x > 2.9, 1))


@functools.cache
def rows(shape):
    """What is folded, how, and what it gives."""
    x = np.random.default_rng(0).standard_normal(shape, dtype="f4")
    x[1, shape[1] - 2] = np.nan
    with on("reference"):
        made = plan_of(tf.function(folds), tf.constant(x))
        return x, made, [np.asarray(y) for y in folds(tf.constant(x))]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("least, size", WAYS)
def test_rows(shape, least, size):
    x, made, expected = rows(shape)
    found = wgsl_runner.run_plan(made, [x], [np.zeros_like(y) for y in expected],
                             wgsl_runner.device_info(min_subgroup_size=least), lambda code: played(code, size))
    for y, right in zip(found, expected):
        np.testing.assert_allclose(y, right, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape, least, barriers, declared", [
    ((5, 300), 0, 4, 2), ((5, 300), 8, 2, 2), ((5, 300), 32, 0, 0),
    ((2, 4100), 0, 4, 2), ((2, 4100), 32, 2, 2), ((37, 12), 0, 0, 0)])
def test_where_invocations_wait(shape, least, barriers, declared):
    """For each other, and for workgroup memory, in the two folds of a softmax."""
    with on("reference"):
        made = plan_of(tf.function(tf.nn.softmax), tf.zeros(shape))
    code, = wgsl_runner.code_of(made, min_subgroup_size=least)
    assert (code.count("workgroupBarrier();"), code.count("var<workgroup>")) == (barriers, declared)


@pytest.mark.parametrize("scaled, barriers", [(True, 1), (False, 0)])
def test_who_may_write_over_what_all_lanes_read_waits_for_them(scaled, barriers):
    """Where no tree has held them together."""
    def f(x):
        v.assign(tf.reduce_sum(x * v if scaled else x, 1, keepdims=True))

    with on("reference"):
        v = tf.Variable(tf.ones((5, 1)))
        made = plan_of(tf.function(f), tf.zeros((5, 300)))
    code = "".join(wgsl_runner.code_of(made, min_subgroup_size=32))
    assert code.count("storageBarrier();") == barriers


@pytest.mark.parametrize("p, plan", PRODUCTS, ids=str)
@pytest.mark.parametrize("least, size", WAYS)
def test_products(p, plan, least, size, monkeypatch):
    monkeypatch.setitem(gemm.__globals__, "route", lambda *_: plan)
    check(strides(p), wgsl_runner.device_info(min_subgroup_size=least), change=lambda code: played(code, size))


@pytest.mark.parametrize("least, size", WAYS)
def test_attention(least, size):
    run = functools.partial(wgsl_runner.run, device_info=wgsl_runner.device_info(min_subgroup_size=least),
                            change=lambda code: played(code, size))
    check_attention(run, (2, 1, 65, 130, 9, 17), "heads", True)


class Says:
    """A host whose device gives an answer for each invocation of a workgroup."""

    def __init__(self, answers, least=4):
        self.device_info, self.answers = DeviceInfo(min_subgroup_size=least), answers

    def load(self, commands: bytes) -> int:
        if self.answers is None:
            raise InternalError("subgroups", "refused", "do without")
        return 1

    def read_many(self, which) -> list[bytes]:
        (_, size), = which
        data = np.zeros(size // 4, "u4")
        for n, lanes in enumerate(WORKGROUP_SIZES):
            data[n * ANSWER_STRIDE // 4:][:lanes] = self.answers[:lanes]
        return [data.tobytes()]

    def new(self, size: int) -> int:
        return 0

    def run(self, program: int, places): ...
    def unload(self, program: int): ...
    def free(self, buffer: int): ...


@pytest.mark.parametrize("answers, least, wanted", [
    ([8] * 256, 4, 4), ([32] * 256, 32, 32), ([8] * 256, 32, 0), ([8] * 255 + [0], 4, 0),
    ([0] + [8] * 255, 4, 0), (None, 4, 0), ([2] * 256, 4, 0)])
def test_subgroups_without_neighbours_are_none(answers, least, wanted):
    assert verify_subgroups(Says(answers, least)).min_subgroup_size == wanted


def test_this_device_has_them():
    """As all have that the tests run on."""
    assert wgsl_runner.device_info().min_subgroup_size > 0
