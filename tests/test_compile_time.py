"""Compile time is linear in the size of the model: the units of work of every pass are counted."""
from collections import Counter
from functools import cache

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
from tensorbrook.ir import Graph

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
