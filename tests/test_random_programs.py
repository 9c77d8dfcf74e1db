"""Random programs: compiled programs give the results of eager execution on the reference."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tensorbrook as tf
from backends import minimal_gpu, on
from plan_interpreter import compile_graph, execute_plan, kernels_over_limit
from random_programs import RandomProgram
from tensorbrook.compiler import cost_model
from tensorbrook.compiler.schedule import single_thread

pytestmark = pytest.mark.slow
SEEDS, LENGTHS = st.integers(0, 2**32), st.integers(0, 25)
CALLS = 3          # the first call reads initial values; the later calls update Variables in place


def run(program: RandomProgram, backend: str, compiler=tf.function) -> list[list[np.ndarray]]:
    """The results of each call, with the Variables after it."""
    with on(backend):
        variables = [tf.Variable(v) for v in program.variables]
        f = compiler(lambda *inputs: program(variables, *inputs))
        results = []
        for _ in range(CALLS):
            outs = f(*map(tf.constant, program.inputs))
            results.append([np.asarray(x) for x in [*outs, *variables]])
        return results


def run_eagerly(program: RandomProgram) -> list[list[np.ndarray]]:
    """The results of eager execution on the reference, where no pass sees two operations."""
    return run(program, "reference", compiler=lambda f: f)


def assert_close(actual, expected, program: RandomProgram, tolerance: float = 1e-4):
    for call, arrays in enumerate(zip(actual, expected)):
        for a, e in zip(*arrays):
            assert a.dtype == e.dtype and a.shape == e.shape
            np.testing.assert_allclose(a, e, rtol=tolerance, atol=tolerance, equal_nan=True,
                                       err_msg=f"{vars(program)} in call {call}")


@settings(max_examples=150)
@given(SEEDS, LENGTHS)
def test_plans_agree_with_eager_execution(seed, length):
    """The plan is verified at every step, and run with NumPy with the planned arena."""
    program = RandomProgram(seed, length)
    with on("reference"):
        variables = [tf.Variable(v) for v in program.variables]
        f = tf.function(lambda *inputs: program(variables, *inputs))
        concrete = f.get_concrete_function(*map(tf.constant, program.inputs))
    plan, expected = compile_graph(concrete.graph), run_eagerly(program)[0]
    captured = [np.asarray(tensor) for tensor in concrete.captured]
    actual, count = execute_plan(plan, [*program.inputs, *captured]), len(concrete.out_specs)
    assert_close([actual[:count]], [expected], program)
    assigned = dict(zip(concrete.assigned, actual[count:]))
    assert_close([[np.asarray(assigned.get(v, v)) for v in variables]], [expected[count:]], program)


@settings(max_examples=200)
@given(SEEDS, LENGTHS)
def test_wasm_agrees_with_the_reference(seed, length):
    program = RandomProgram(seed, length)
    assert_close(run(program, "wasm"), run_eagerly(program), program)


@settings(max_examples=20)
@given(SEEDS, LENGTHS)
def test_float16_on_webgpu_agrees_with_the_reference(seed, length):
    """Values in registers and in memory are rounded alike. The tolerance allows for math functions
    that differ in the last digit, and for the propagation of the difference."""
    program = RandomProgram(seed, length, float16=True)
    assert_close(run(program, "webgpu"), run_eagerly(program), program, tolerance=3e-2)


def test_a_gpu_with_the_minimum_limits_agrees_with_the_reference():
    """8 storage buffers per kernel, small workgroups, no subgroups."""
    @settings(max_examples=30)
    @given(SEEDS, LENGTHS)
    def check(seed, length):
        program = RandomProgram(seed, length)
        assert_close(run(program, "webgpu"), run_eagerly(program), program)

    with minimal_gpu():
        check()


@settings(max_examples=100)
@given(SEEDS, LENGTHS)
def test_parallel_kernels_are_synchronized(seed, length):
    """With parallel kernels of any size, so that every barrier is needed."""
    program = RandomProgram(seed, length)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cost_model, "MIN_PARALLEL_NS", 0)
        patch.setattr(single_thread, "SINGLE_THREAD_NS", 0)
        assert_close(run(program, "wasm"), run_eagerly(program), program)


@settings(max_examples=100)
@given(SEEDS, LENGTHS)
def test_simplified_graphs_agree_with_eager_execution(seed, length):
    program = RandomProgram(seed, length)
    assert_close(run(program, "reference"), run_eagerly(program), program)


@settings(max_examples=100)
@given(SEEDS, st.integers(1, 25), st.integers(4, 10))
def test_kernels_bind_no_more_buffers_than_the_limit(seed, length, max_buffers):
    program = RandomProgram(seed, length)
    f = tf.function(lambda *inputs: program([], *inputs))
    graph = f.get_concrete_function(*map(tf.constant, program.inputs)).graph
    assert not kernels_over_limit(compile_graph(graph, max_buffers), max_buffers)
