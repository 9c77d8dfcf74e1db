"""Subgroup reductions for every subgroup size, and the fallback without subgroups."""
import functools

import numpy as np
import pytest
import wgsl_runner
from attention_reference import check as check_attention
from backends import on
from plan_interpreter import plan_of
from fake_subgroups import CONFIGURATIONS, with_subgroup_size
from test_gpu_gemm import check, with_strides

import tensorbrook as tf
from tensorbrook.backends.webgpu.kernels import gemm
from tensorbrook.backends.webgpu.kernels.gemm import TILES, GemmShape, GemvGemm, TiledGemm
from tensorbrook.backends.webgpu.device_info import DeviceInfo
from tensorbrook.backends.webgpu.subgroup_probe import (
    ANSWER_STRIDE,
    WORKGROUP_SIZES,
    verify_subgroups,
)
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


def reductions(x):
    """Reductions of every dtype, in one pass and in three passes."""
    exps = tf.exp(x - tf.reduce_max(x, 1, keepdims=True))
    y = exps / tf.reduce_sum(exps, 1, keepdims=True)
    integers = tf.cast(x * 100.0, tf.int32)
    return (y / tf.sqrt(tf.reduce_sum(y * y, 1, keepdims=True)), tf.reduce_sum(integers, 1),
            tf.reduce_any(x > 2.9, 1))


@functools.cache
def reduction_problem(shape):
    """Return (input, plan, expected outputs)."""
    x = np.random.default_rng(0).standard_normal(shape, dtype="f4")
    x[1, shape[1] - 2] = np.nan
    with on("reference"):
        plan = plan_of(tf.function(reductions), tf.constant(x))
        return x, plan, [np.asarray(y) for y in reductions(tf.constant(x))]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("min_size, size", CONFIGURATIONS)
def test_row_reductions(shape, min_size, size):
    x, plan, expected = reduction_problem(shape)
    device_info = wgsl_runner.device_info(min_subgroup_size=min_size)
    actual = wgsl_runner.run_plan(plan, [x], [np.zeros_like(y) for y in expected], device_info,
                                  lambda code: with_subgroup_size(code, size))
    for a, e in zip(actual, expected):
        np.testing.assert_allclose(a, e, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape, min_size, barriers, variables", [
    ((5, 300), 0, 4, 2), ((5, 300), 8, 2, 2), ((5, 300), 32, 0, 0),
    ((2, 4100), 0, 4, 2), ((2, 4100), 32, 2, 2), ((37, 12), 0, 0, 0)])
def test_barriers_and_workgroup_memory(shape, min_size, barriers, variables):
    """The barriers and workgroup variables of the two reductions of a softmax."""
    with on("reference"):
        plan = plan_of(tf.function(tf.nn.softmax), tf.zeros(shape))
    code, = wgsl_runner.shaders_of(plan, min_subgroup_size=min_size)
    counts = code.count("workgroupBarrier();"), code.count("var<workgroup>")
    assert counts == (barriers, variables)


@pytest.mark.parametrize("scaled, barriers", [(True, 1), (False, 0)])
def test_an_in_place_store_of_a_broadcast_operand_needs_a_barrier(scaled, barriers):
    """A subgroup reduction has no barrier between the loads and an in-place store."""
    def f(x):
        v.assign(tf.reduce_sum(x * v if scaled else x, 1, keepdims=True))

    with on("reference"):
        v = tf.Variable(tf.ones((5, 1)))
        plan = plan_of(tf.function(f), tf.zeros((5, 300)))
    code = "".join(wgsl_runner.shaders_of(plan, min_subgroup_size=32))
    assert code.count("storageBarrier();") == barriers


@pytest.mark.parametrize("p, algorithm", PRODUCTS, ids=str)
@pytest.mark.parametrize("min_size, size", CONFIGURATIONS)
def test_gemm(p, algorithm, min_size, size, monkeypatch):
    monkeypatch.setattr(gemm, "select_algorithm", lambda *_: algorithm)
    check(with_strides(p), wgsl_runner.device_info(min_subgroup_size=min_size),
          transform=lambda code: with_subgroup_size(code, size))


@pytest.mark.slow
@pytest.mark.parametrize("min_size, size", CONFIGURATIONS)
def test_attention(min_size, size):
    run = functools.partial(
        wgsl_runner.run, device_info=wgsl_runner.device_info(min_subgroup_size=min_size),
        transform=lambda code: with_subgroup_size(code, size))
    check_attention(run, (2, 1, 65, 130, 9, 17), "heads", True)


class FakeHost:
    """A host whose device returns a given probe result for every invocation of a workgroup."""

    def __init__(self, answers, min_size=4):
        self.device_info, self.answers = DeviceInfo(min_subgroup_size=min_size), answers

    def load(self, commands: bytes) -> int:
        if self.answers is None:
            raise InternalError("subgroups", "refused", "do without")
        return 1

    def read_many(self, requests) -> list[bytes]:
        (_, size), = requests
        data = np.zeros(size // 4, "u4")
        for n, lanes in enumerate(WORKGROUP_SIZES):
            data[n * ANSWER_STRIDE // 4:][:lanes] = self.answers[:lanes]
        return [data.tobytes()]

    def new(self, size: int) -> int:
        return 0

    def run(self, program: int, buffers): ...
    def unload(self, program: int): ...
    def free(self, buffer: int): ...


@pytest.mark.parametrize("answers, min_size, expected", [
    ([8] * 256, 4, 4), ([32] * 256, 32, 32), ([8] * 256, 32, 0), ([8] * 255 + [0], 4, 0),
    ([0] + [8] * 255, 4, 0), (None, 4, 0), ([2] * 256, 4, 0)])
def test_subgroups_with_wrong_probe_results_are_not_used(answers, min_size, expected):
    assert verify_subgroups(FakeHost(answers, min_size)).min_subgroup_size == expected


def test_the_test_device_has_subgroups():
    assert wgsl_runner.device_info().min_subgroup_size > 0
