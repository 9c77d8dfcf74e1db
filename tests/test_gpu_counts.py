"""Counts of a training step on the GPU: host calls, submits, dispatches, pipelines and bytes."""
from types import SimpleNamespace

import numpy as np
import pytest

import golden_programs
import tensorbrook as tf
from backends import on
from examples import example
from tensorbrook import keras
from tensorbrook.keras.callbacks import Logs
from tensorbrook.backends.webgpu import target_info
from tensorbrook.backends.webgpu.device_info import DeviceInfo
from tensorbrook.backends.webgpu.compiled_program import Dispatch
from tensorbrook.backends.webgpu.command_builder import compile_plan
from tensorbrook.eager import plan_for, simplify_for
from tensorbrook.ir import KernelCall
from tensorbrook.ir.kernel_stats import bytes_moved


def mlp():
    f, arguments = golden_programs.mlp()
    return tf.function(f), arguments


def lenet():
    """LeCun et al., "Gradient-based learning applied to document recognition", 1998."""
    layers = [keras.layers.Conv2D(6, 5, padding="same", activation="tanh"),
              keras.layers.AveragePooling2D(2),
              keras.layers.Conv2D(16, 5, activation="tanh"), keras.layers.AveragePooling2D(2),
              keras.layers.Flatten(), keras.layers.Dense(120, activation="tanh"),
              keras.layers.Dense(84, activation="tanh"), keras.layers.Dense(10)]
    f, arguments = golden_programs.training(layers, (28, 28, 1), 16, keras.optimizers.Adam(0.001))
    return tf.function(f), arguments


def gpt():
    """The training step of examples/tiny_gpt.py."""
    program = example("tiny_gpt")
    program.BATCH = 4
    return program.trainer(program.GPT(), ["one fox with two hens sleeps."] * 50), ()


STEPS = {"mlp": mlp, "lenet": lenet, "gpt": gpt}

# Upper bounds for one step on a device with the minimum limits: the number of dispatches, and the
# bytes that they move, relative to the least bytes that the kernels of the plan must move.
MAX_COSTS = {"mlp": (11, 1.08), "lenet": (35, 1.14), "gpt": (120, 1.12)}


@pytest.mark.parametrize("name", STEPS)
def test_dispatches_and_bytes(name):
    device_info = DeviceInfo()
    device = SimpleNamespace(target=target_info(device_info))
    with on("reference"):
        step, arguments = STEPS[name]()
        graph = step.get_concrete_function(*arguments).graph
    plan = plan_for(simplify_for(graph, device), device)
    compiled = compile_plan(plan, device_info)
    assert all(isinstance(s, Dispatch) for s in compiled.steps), "a buffer is copied"
    assert all(len(s.bindings) <= device_info.storage_buffers for s in compiled.steps)
    calls = [s.kernel for s in plan.steps if isinstance(s.kernel, KernelCall)]
    consumed_by_epilogue = [out for k in calls if not k.result_escapes for out in k.outs]
    assert consumed_by_epilogue
    assert plan.buffer_locations.keys().isdisjoint(consumed_by_epilogue), \
        "memory is allocated for a value that only an epilogue consumes"
    bytes_ratio = compiled.bytes_moved / sum(bytes_moved(s.kernel) for s in plan.steps)
    max_dispatches, max_bytes_ratio = MAX_COSTS[name]
    assert len(compiled.steps) <= max_dispatches and 1 <= bytes_ratio <= max_bytes_ratio


def counter_increments(f) -> dict[str, int]:
    """Return how much a call adds to each counter."""
    before = tf.config.get_counters()
    f()
    after = tf.config.get_counters()
    return {name: after[name] - before[name] for name in after}


@pytest.mark.slow(on="gpt")
@pytest.mark.parametrize("name", STEPS)
def test_a_step_is_one_call_and_one_submit(name):
    with on("webgpu"):
        step, arguments = STEPS[name]()
        step(*arguments)
        for _ in range(2):
            cost = counter_increments(lambda: step(*arguments))
            assert cost.pop("kernels") > 0 and cost.pop("bytes_moved") > 0
            assert cost == {"host_calls": 1, "submits": 1, "programs": 1, "compiled": 0,
                            "pipelines": 0}


def test_a_step_that_copies_held_values_is_one_call_and_one_submit():
    """The program copies old values of Variables that the caller holds."""
    with on("webgpu"):
        step, arguments = mlp()
        step(*arguments)
        variables = step.get_concrete_function(*arguments).assigned
        for _ in range(3):
            held = [v.value() for v in variables]
            before = [t.numpy() for t in held]
            cost = counter_increments(lambda: step(*arguments))
            step(*arguments)
        # In the third iteration the buffers of the copies are reused.
        assert cost["host_calls"] == cost["submits"] == cost["programs"] == 1
        assert any((v.numpy() != b).any() for v, b in zip(variables, before))
        for t, b in zip(held, before):
            np.testing.assert_array_equal(t.numpy(), b)


def test_values_that_are_read_together_take_one_call_and_one_submit():
    with on("webgpu"):
        model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(7), keras.layers.Dense(1)])
        model.compile("sgd", "mse", metrics=["mae"])
        batch = tf.ones((4, 5)), tf.ones((4, 1))
        step = model.make_train_function()
        cost = counter_increments(lambda: [w.tolist() for w in model.weights])
        assert cost["host_calls"] == cost["submits"] == 4, "one for each separate read"
        cost = counter_increments(lambda: model.get_weights())
        assert cost["host_calls"] == cost["submits"] == 1
        logs = Logs(step(batch))
        cost = counter_increments(lambda: dict(logs))
        assert set(logs) == {"loss", "mae"} and cost["host_calls"] == cost["submits"] == 1
        step(batch)
        cost = counter_increments(lambda: step(batch))
        assert cost["host_calls"] == cost["submits"] == 1, "reading a Variable copies nothing"


def test_another_signature_with_the_same_kernels_compiles_no_pipeline():
    with on("webgpu"):
        f = tf.function(lambda x, y, which: tf.nn.softmax(tf.matmul(x, y)) * 1.2345)
        x, y = tf.ones((37, 41)), tf.ones((41, 43))
        first = counter_increments(lambda: f(x, y, "one"))
        other = counter_increments(lambda: f(x, y, "other"))
    assert first["pipelines"] > 0 and first["compiled"] == 1
    assert other["compiled"] == 1 and other["pipelines"] == 0


def test_equal_shaders_share_a_pipeline():
    with on("webgpu"):
        f = tf.function(lambda x: tf.sort(tf.sort(x) * 3.25) * 3.25)
        cost = counter_increments(lambda: f(tf.ones((11, 13))))
    assert cost["pipelines"] < cost["kernels"]


def test_fit_takes_one_call_and_one_submit_per_step():
    """The overhead of an epoch does not depend on its number of steps."""
    with on("webgpu"):
        model = keras.Sequential([keras.Input((5,)), keras.layers.Dropout(0.2),
                                  keras.layers.Dense(1)])
        model.compile("adam", "mse", metrics=["mae"])

        def fit(steps: int) -> dict[str, int]:
            x = tf.ones((4 * steps, 5)), tf.ones((4 * steps, 1))
            model.fit(*x, batch_size=4, verbose=0)             # compiles everything
            return counter_increments(lambda: model.fit(*x, batch_size=4, verbose=0))

        short, long = fit(3), fit(10)
    difference = {name: long[name] - short[name] for name in long}
    assert difference["host_calls"] == difference["submits"] == difference["programs"] == 7
    assert long["compiled"] == long["pipelines"] == 0
