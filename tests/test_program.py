"""Whole programs: generated kernels and those of the engine, barriers and places, on threads."""
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

M, K, N = 37, 29, 43


def over(x: Var, space) -> Load:
    return Load(x, View.of(x.spec.shape).broadcast_to(space), x.spec.dtype)


def dense_layer(split: bool) -> Plan:
    """relu(x @ w + b) and the sums of its columns, with the product in the arena."""
    x, w, b, product, out, sums = (
        Var(TensorSpec(shape, float32)) for shape in ((M, K), (K, N), (N,), (M, N), (M, N), (1, N)))
    gemm = KernelCall("gemm", (x, w), (product,), (1, M, N, K, 0, 0, 0, 0), M * N * K, ())
    space = M, N
    body = over(product, space), over(b, space), ElementwiseOp("max(x + y, 0)", (0, 1), float32)
    relu = LoopKernel(space, (), (RowPass(body),), (Store(2, out, View.of(space)),), ())
    total = ReduceOp(0, Reduction("x + y", 0), float32)
    sums_of_columns = (RowPass((over(out, space),), (total,)),)
    fold = LoopKernel(space, (0,), sums_of_columns, (Store(1, sums, View.of((1, N))),), ())
    places = {v: BufferLocation("slot", i) for i, v in enumerate((x, w, b, out, sums))}
    places[product] = BufferLocation("arena", 128)
    steps = tuple(ScheduledKernel(kernel, split, i > 0) for i, kernel in enumerate((gemm, relu, fold)))
    return Plan((x, w, b), (), (out, sums), {}, places, steps, 128 + 4 * M * N,
                Graph([x, w, b], [], [out, sums]))


def run(plan: Plan, threads: int, arrays, arena_size: int) -> list[np.ndarray]:
    """What a plan leaves in its outputs; their arrays come last."""
    host = Host(threads)
    at = -(-host.heap_base // 64) * 64
    addresses = [at]                                     # the arguments block, the arena, the rest
    for size in (1024, arena_size, *(a.nbytes for a in arrays)):
        addresses.append(addresses[-1] + -(-size // 64) * 64)
    host.grow(addresses[-1])
    for address, array in zip(addresses[2:], arrays):
        host.write(address, array)
    host.write(at, np.array([addresses[1], threads], np.uint32))
    program = host.load(emit_module(plan, host.relaxed, host.shared))
    host.run(program, at, *addresses[2:2 + len(arrays)])
    found = [np.frombuffer(host.read(address, array.nbytes), array.dtype).reshape(array.shape)
             for address, array in zip(addresses[2:], arrays)]
    host.close()
    return found[len(plan.inputs):]


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("split", [True, False])
def test_kernels_of_both_kinds_in_order(split, threads):
    rng = np.random.default_rng(1)
    x, w, b = (rng.normal(size=s).astype(np.float32) for s in ((M, K), (K, N), (N,)))
    plan = dense_layer(split)
    outputs = [np.zeros((M, N), np.float32), np.zeros((1, N), np.float32)]
    out, sums = run(plan, threads, [x, w, b, *outputs], plan.arena_size)
    expected = np.maximum(x @ w + b, 0)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(sums, expected.sum(0, keepdims=True), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("threads", [1, 3])
def test_a_kernel_of_the_engine_alone_on_one_thread(threads):
    state, bits = Var(TensorSpec((4,), int32)), Var(TensorSpec((11,), int32))
    call = KernelCall("random_bits", (state,), (bits,), (11,), 11, ())
    places = {state: BufferLocation("slot", 0), bits: BufferLocation("slot", 1)}
    plan = Plan((state,), (), (bits,), {}, places, (ScheduledKernel(call, False, False),), 0,
                Graph([state], [], [bits]))
    found, = run(plan, threads, [np.zeros(4, np.int32), np.zeros(11, np.int32)], 0)
    # Random123's known answer for Philox 4x32-10 with key and counter 0.
    known = np.array([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8], np.uint32)
    np.testing.assert_array_equal(found.view(np.uint32)[:4], known)


def test_listing_names_what_run_calls():
    text = disassemble_plan(dense_layer(split=True)).split("function ")[-1]
    assert [line.split()[-2:] for line in text.splitlines() if "call" in line] == [
        ["call", "1"], ["call", "0"], ["call", "2"], ["call", "0"], ["call", "3"]]


def test_a_program_without_steps_is_a_module():
    x = var_like(np.zeros(3, np.float32), float32)
    plan = Plan((x,), (), (), {}, {x: BufferLocation("slot", 0)}, (), 0, Graph([x]))
    assert run(plan, 2, [np.zeros(3, np.float32)], 0) == []
