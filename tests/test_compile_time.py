"""Compile time is linear in the size of the model: the units of work of every pass are counted."""
from collections import Counter
from functools import cache

import numpy as np
import pytest

import tensorbrook as tf
from backends import on
from benchmarks.ours.compile_time import GPT, dense_batch, dense_model, gpt_batch
from tensorbrook.backends.wasm import Wasm
from tensorbrook.backends.wasm.module_codegen import emit_module
from tensorbrook.backends.webgpu import target_info
from tensorbrook.backends.webgpu.command_builder import compile_plan
from tensorbrook.backends.webgpu.device_info import DeviceInfo
from tensorbrook.compiler import lower, optimize
from tensorbrook.compiler.fusion.fusion_group import MAX_PASSES
from tensorbrook.ir import Graph

pytestmark = pytest.mark.slow

# Per layer, a deep model may count at most this much more than a shallow one. Both have constant
# parts, such as the loss, which make the ratio smaller.
GROWTH = 1.15
MODELS = {"dense": (dense_model, dense_batch, 20, 160), "gpt": (GPT, lambda: gpt_batch(2), 4, 24)}
TARGETS = {"wasm": Wasm.target, "webgpu": target_info(DeviceInfo())}


@cache
def training_graph(name: str, depth: int) -> Graph:
    """The traced training step of a model, whose Variables are created on the reference backend."""
    build, batch, *_ = MODELS[name]
    with on("reference"):
        model, (x, y) = build(depth), batch()
        model(x)
        optimizer = tf.keras.optimizers.AdamW(0.001)
        loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)

        @tf.function
        def step(x, y):
            with tf.GradientTape() as tape:
                value = loss(y, model(x))
            variables = model.trainable_variables
            optimizer.apply_gradients(zip(tape.gradient(value, variables), variables))
            return value

        return step.get_concrete_function(x, y).graph


@cache
def compiled(name: str, depth: int, target: str):
    counts = Counter()
    plan = lower(optimize(training_graph(name, depth), TARGETS[target], counts),
                 TARGETS[target], counts)
    return plan, counts


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", MODELS)
def test_work_per_layer_is_constant(name, target):
    *_, shallow, deep = MODELS[name]
    few, many = (compiled(name, depth, target)[1] for depth in (shallow, deep))
    assert few.keys() == many.keys() and len(few) >= 6
    ratios = {work: (many[work] / deep) / (few[work] / shallow) for work in few}
    assert {work: ratio for work, ratio in ratios.items() if ratio > GROWTH} == {}


@pytest.mark.parametrize("name", MODELS)
def test_equations_and_kernels_per_layer_are_constant(name):
    *_, shallow, deep = MODELS[name]
    few, many = (compiled(name, depth, "wasm")[0] for depth in (shallow, deep))
    assert len(many.graph.eqns) / deep <= len(few.graph.eqns) / shallow
    assert len(many.steps) / deep <= len(few.steps) / shallow


@pytest.mark.parametrize("name", MODELS)
def test_repeated_layers_share_their_code(name):
    """The functions and shaders of a deep model are those of a shallow one."""
    *_, shallow, deep = MODELS[name]
    few, many = (compiled(name, depth, "webgpu")[0] for depth in (shallow, deep))
    device_info = DeviceInfo()
    shaders = [len(compile_plan(plan, device_info).shaders) for plan in (few, many)]
    assert shaders[1] <= shaders[0] + 2
    few, many = (compiled(name, depth, "wasm")[0] for depth in (shallow, deep))
    functions = [function_count(emit_module(plan, relaxed=True, shared=True))
                 for plan in (few, many)]
    assert functions[1] <= functions[0] + 2


# ── other kinds of growth ──


def updates(n):
    """An update of n Variables by one tensor."""
    variables = [tf.Variable(tf.ones(4)) for _ in range(n)]

    def f(x):
        for v in variables:
            v.assign_add(x)
        return x
    return f


def chain(n):
    """A chain of elementwise operations."""
    def f(x):
        for _ in range(n):
            x = x * 1.01 + 0.1
        return x
    return f


def row_passes(n):
    """A chain of operations that each need a reduction of the one before."""
    def f(x):
        for _ in range(n):
            x = tf.exp(x) * tf.reduce_sum(x)
        return x
    return f


def concatenation(n):
    """A concatenation of n computed parts."""
    return lambda x: tf.concat([x * float(i) for i in range(n)], 0)


def gradients(n):
    """Gradients of n Variables through one sum, and their updates."""
    variables = [tf.Variable(tf.ones(4)) for _ in range(n)]

    def f(x):
        with tf.GradientTape() as tape:
            y = tf.add_n([tf.reduce_sum(v * x) for v in variables])
        for v, g in zip(variables, tape.gradient(y, variables)):
            v.assign_sub(g)
        return y
    return f


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("build", [updates, chain, row_passes, concatenation, gradients])
def test_twice_the_program_is_twice_the_work(build, target):
    def work(n):
        with on("reference"):
            graph = tf.function(build(n)).get_concrete_function(tf.ones(4)).graph
        counts = Counter()
        lower(optimize(graph, TARGETS[target], counts), TARGETS[target], counts)
        return counts

    once, twice = work(600), work(1200)
    assert {name: twice[name] / once[name] for name in once
            if twice[name] > 2.5 * once[name]} == {}      # quadratic work is 4 times as much


def test_a_function_may_update_more_variables_than_a_kernel_binds():
    """A WebAssembly function has at most 1,000 parameters."""
    variables = [tf.Variable(tf.ones(2)) for _ in range(1100)]

    @tf.function
    def f(x):
        for v in variables:
            v.assign_add(x)

    with on("wasm"):
        f(tf.constant([1.0, 2.0]))
        assert {tuple(v.numpy().tolist()) for v in variables} == {(2.0, 3.0)}


def test_the_passes_of_one_kernel_are_limited():
    with on("reference"):
        graph = tf.function(row_passes(50)).get_concrete_function(tf.ones(4)).graph
    plan = lower(optimize(graph, Wasm.target), Wasm.target)
    assert max(len(step.kernel.passes) for step in plan.steps) == MAX_PASSES
    x = tf.constant([0.01, 0.02, 0.03, -0.04])
    with on("reference"):
        expected = row_passes(20)(x).numpy()
    with on("wasm"):
        actual = tf.function(row_passes(20))(x).numpy()
    np.testing.assert_allclose(actual, expected, rtol=1e-4)


def function_count(module: bytes) -> int:
    """The number of functions in the code section of a WebAssembly module."""
    position = 8
    while True:
        section, position = module[position], position + 1
        size, position = leb128(module, position)
        if section == 10:
            return leb128(module, position)[0]
        position += size


def leb128(data: bytes, position: int) -> tuple[int, int]:
    """An unsigned LEB128 integer, and the position after it."""
    value = shift = 0
    while True:
        byte, position = data[position], position + 1
        value |= (byte & 0x7f) << shift
        shift += 7
        if byte < 0x80:
            return value, position
