"""Random programs: what the compiler makes of them means what their equations mean."""
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tensorbrook as tf
from backends import least_gpu, on
from plan_interpreter import compile_graph, execute_plan, kernels_over_limit
from random_programs import RandomProgram

SEEDS, LENGTHS = st.integers(0, 2**32), st.integers(0, 25)
CALLS = 3          # the first reads Variables that nobody wrote, the next ones update them in place


def run(program: RandomProgram, backend: str, compiler=tf.function) -> list[list[np.ndarray]]:
    """The results of each call, with the Variables after it."""
    with on(backend):
        variables = [tf.Variable(v) for v in program.variables]
        f = compiler(lambda *inputs: program(variables, *inputs))
        seen = []
        for _ in range(CALLS):
            outs = f(*map(tf.constant, program.inputs))
            seen.append([np.asarray(x) for x in [*outs, *variables]])
        return seen


def right(program: RandomProgram) -> list[list[np.ndarray]]:
    """Operation by operation on the reference, where no pass sees two of them."""
    return run(program, "reference", compiler=lambda f: f)


def agree(ours, theirs, program: RandomProgram, tolerance: float = 1e-4):
    for call, (xs, ys) in enumerate(zip(ours, theirs)):
        for x, y in zip(xs, ys):
            assert x.dtype == y.dtype and x.shape == y.shape
            np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance, equal_nan=True,
                                       err_msg=f"{vars(program)} in call {call}")


@settings(max_examples=150)
@given(SEEDS, LENGTHS)
def test_the_plan_means_what_the_graph_means(seed, length):
    """Checked at every stage, then carried out by NumPy, with the arena reused as planned."""
    program = RandomProgram(seed, length)
    with on("reference"):
        variables = [tf.Variable(v) for v in program.variables]
        f = tf.function(lambda *inputs: program(variables, *inputs))
        concrete = f.get_concrete_function(*map(tf.constant, program.inputs))
    plan, expected = compile_graph(concrete.graph), right(program)[0]
    captured = [np.asarray(held) for held in concrete.captured]
    found = execute_plan(plan, [*program.inputs, *captured])
    agree([found[:len(concrete.out_specs)]], [expected], program)
    new = dict(zip(concrete.assigned, found[len(concrete.out_specs):]))
    agree([[np.asarray(new.get(v, v)) for v in variables]],
          [expected[len(concrete.out_specs):]], program)


@settings(max_examples=200)
@given(SEEDS, LENGTHS)
def test_wasm_computes_what_the_reference_says(seed, length):
    program = RandomProgram(seed, length)
    agree(run(program, "wasm"), right(program), program)


@settings(max_examples=20)
@given(SEEDS, LENGTHS)
def test_float16_is_the_same_wherever_it_lies(seed, length):
    """In a register or in memory; but for functions that differ in a last digit before it is
    rounded, and what grows from that."""
    program = RandomProgram(seed, length, halves=True)
    agree(run(program, "webgpu"), right(program), program, tolerance=3e-2)


@settings(max_examples=30)
@given(SEEDS, LENGTHS)
def test_a_gpu_that_can_do_the_least_computes_what_the_reference_says(least, seed, length):
    """Eight buffers a kernel, small workgroups, no subgroups."""
    program = RandomProgram(seed, length)
    agree(run(program, "webgpu"), right(program), program)


@pytest.fixture(scope="module")
def least():
    with least_gpu():
        yield


@settings(max_examples=100)
@given(SEEDS, LENGTHS)
def test_threads_that_share_every_kernel_wait_for_each_other(seed, length):
    """As if no kernel were too small to be split, so that every barrier counts."""
    program = RandomProgram(seed, length)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["tensorbrook.compiler.planner"], "MIN_PARALLEL_WORK", 0)
        patch.setattr(sys.modules["tensorbrook.compiler.planner"], "SINGLE_THREAD_NS", 0)
        agree(run(program, "wasm"), right(program), program)


@settings(max_examples=100)
@given(SEEDS, LENGTHS)
def test_a_simplified_graph_means_the_same(seed, length):
    program = RandomProgram(seed, length)
    agree(run(program, "reference"), right(program), program)


@settings(max_examples=100)
@given(SEEDS, st.integers(1, 25), st.integers(4, 10))
def test_kernels_touch_no_more_buffers_than_allowed(seed, length, most):
    program = RandomProgram(seed, length)
    f = tf.function(lambda *inputs: program([], *inputs))
    plan = compile_graph(f.get_concrete_function(*map(tf.constant, program.inputs)).graph, most)
    assert not kernels_over_limit(plan, most)
