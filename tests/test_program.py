"""Complete programs: generated and engine kernels, barriers and buffer locations, on threads."""
import numpy as np
import pytest

from wasm_program_runner import var_like
from tensorbrook.backends.wasm.host_wasmtime import Host
from tensorbrook.backends.wasm.module_codegen import disassemble_plan, emit_module
from tensorbrook.base.dtypes import float32, int32
from tensorbrook.base.views import View
from tensorbrook.ir import (
    ElementwiseOp,
    KernelCall,
    Graph,
    Load,
    LoopKernel,
    BufferLocation,
    Plan,
    ReduceOp,
    Reduction,
    TensorSpec,
    RowPass,
    ScheduledKernel,
    Store,
    Var,
)
from tensorbrook.ir.scalar_expression import scalar_expression

M, K, N = 37, 29, 43


def broadcast_load(x: Var, space) -> Load:
    return Load(x, View.of(x.spec.shape).broadcast_to(space), x.spec.dtype)


def dense_layer(parallel: bool) -> Plan:
    """relu(x @ w + b) and its column sums; the matmul is stored in the arena."""
    x, w, b, product, out, sums = (
        Var(TensorSpec(shape, float32)) for shape in ((M, K), (K, N), (N,), (M, N), (M, N), (1, N)))
    gemm = KernelCall("gemm", (x, w), (product,), (1, M, N, K, 0, 0, 0, 0), M * N * K, ())
    space = M, N
    body = (broadcast_load(product, space), broadcast_load(b, space),
            ElementwiseOp(scalar_expression("max(x + y, 0)"), (0, 1), float32))
    relu = LoopKernel(space, (), (RowPass(body),), (Store(2, out, View.of(space)),), ())
    total = ReduceOp(0, Reduction(scalar_expression("x + y"), 0), float32)
    passes = (RowPass((broadcast_load(out, space),), (total,)),)
    column_sums = LoopKernel(space, (0,), passes, (Store(1, sums, View.of((1, N))),), ())
    locations = {v: BufferLocation("slot", i) for i, v in enumerate((x, w, b, out, sums))}
    locations[product] = BufferLocation("arena", 128)
    steps = tuple(ScheduledKernel(kernel, parallel, barrier_before=i > 0)
                  for i, kernel in enumerate((gemm, relu, column_sums)))
    return Plan((x, w, b), (), (out, sums), {}, locations, steps, 128 + 4 * M * N,
                Graph([x, w, b], [], [out, sums]))


def run(plan: Plan, threads: int, arrays, arena_size: int) -> list[np.ndarray]:
    """The outputs of a plan; `arrays` are its inputs and the initial contents of its outputs."""
    host = Host(threads)
    block = -(-host.heap_base // 64) * 64
    addresses = [block]                                  # the argument block, the arena, the arrays
    for size in (1024, arena_size, *(a.nbytes for a in arrays)):
        addresses.append(addresses[-1] + -(-size // 64) * 64)
    host.grow(addresses[-1])
    for address, array in zip(addresses[2:], arrays):
        host.write(address, array)
    host.write(block, np.array([addresses[1], threads], np.uint32))
    program = host.load(emit_module(plan, host.relaxed, host.shared))
    host.run(program, block, *addresses[2:2 + len(arrays)])
    results = [np.frombuffer(host.read(address, array.nbytes), array.dtype).reshape(array.shape)
               for address, array in zip(addresses[2:], arrays)]
    host.close()
    return results[len(plan.inputs):]


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("parallel", [True, False])
def test_generated_and_engine_kernels_in_one_program(parallel, threads):
    rng = np.random.default_rng(1)
    x, w, b = (rng.normal(size=s).astype(np.float32) for s in ((M, K), (K, N), (N,)))
    plan = dense_layer(parallel)
    outputs = [np.zeros((M, N), np.float32), np.zeros((1, N), np.float32)]
    out, sums = run(plan, threads, [x, w, b, *outputs], plan.arena_size)
    expected = np.maximum(x @ w + b, 0)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(sums, expected.sum(0, keepdims=True), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("threads", [1, 3])
def test_a_single_threaded_engine_kernel(threads):
    state, bits = Var(TensorSpec((4,), int32)), Var(TensorSpec((11,), int32))
    call = KernelCall("random_bits", (state,), (bits,), (11,), 11, ())
    locations = {state: BufferLocation("slot", 0), bits: BufferLocation("slot", 1)}
    plan = Plan((state,), (), (bits,), {}, locations, (ScheduledKernel(call, False, False),), 0,
                Graph([state], [], [bits]))
    actual, = run(plan, threads, [np.zeros(4, np.int32), np.zeros(11, np.int32)], 0)
    # The known answer of Random123 for Philox 4x32-10 with key and counter 0.
    expected = np.array([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8], np.uint32)
    np.testing.assert_array_equal(actual.view(np.uint32)[:4], expected)


def test_the_disassembly_has_the_calls_of_run():
    text = disassemble_plan(dense_layer(parallel=True)).split("function ")[-1]
    assert [line.split()[-2:] for line in text.splitlines() if "call" in line] == [
        ["call", "1"], ["call", "0"], ["call", "2"], ["call", "0"], ["call", "3"]]


def test_a_program_without_steps_runs():
    x = var_like(np.zeros(3, np.float32), float32)
    plan = Plan((x,), (), (), {}, {x: BufferLocation("slot", 0)}, (), 0, Graph([x]))
    assert run(plan, 2, [np.zeros(3, np.float32)], 0) == []
