"""Plan interpreter: runs plans with NumPy, with the planned arena and in-place updates."""
from dataclasses import replace

import numpy as np
from loop_interpreter import interpret

from tensorbrook.backends.wasm import Wasm
from tensorbrook.compiler import lower, optimize
from tensorbrook.ir import KernelCall, Const, Graph, LoopKernel, Plan, ScanKernel, as_tuple
from tensorbrook.ir.verifier import verify_graph, verify_plan


def compile_graph(graph: Graph, max_buffers: int = 1 << 30, **changes) -> Plan:
    """The plan of a graph for the target info of `wasm` with `changes`, verified at every step."""
    verify_graph(graph)
    optimized = optimize(graph)
    verify_graph(optimized)
    target = replace(Wasm.target, max_buffers_per_kernel=max_buffers, **changes)
    plan = lower(optimized, target)
    verify_plan(plan)
    return plan


def kernels_over_limit(plan: Plan, max_buffers: int) -> list:
    """The kernels that bind more than `max_buffers` buffers, except calls without an epilogue."""
    aliases = {plan.outputs[i]: plan.inputs[j] for i, j in plan.input_output_aliases.items()}
    pending, over_limit = [step.kernel for step in plan.steps], []
    while pending:
        k = pending.pop()
        if isinstance(k, ScanKernel):
            pending += k.kernels
        elif not isinstance(k, KernelCall) or k.epilogue:
            buffers = {aliases.get(a, a) for a in (*k.reads, *k.writes)}
            over_limit += [k] if len(buffers) > max_buffers else []
    return over_limit


def plan_of(f, *arguments) -> Plan:
    """The plan of a tf.function for the signature of the arguments."""
    return compile_graph(f.get_concrete_function(*arguments).graph)


def execute_plan(plan: Plan, inputs) -> list[np.ndarray]:
    """The outputs of a plan; an output that updates an input shares the buffer of the input."""
    arena = np.full(plan.arena_size, 0xA5, np.uint8)
    slots = [np.array(x) for x in inputs] + [_constant(c) for c in plan.constants]
    for i, o in enumerate(plan.outputs):
        slots.append(slots[plan.input_output_aliases[i]] if i in plan.input_output_aliases
                     else np.full(o.spec.shape, 77).astype(o.spec.dtype.name))
    arrays = {atom: _array(atom, location, arena, slots)
              for atom, location in plan.buffer_locations.items()
              if location.space == "arena" or location.offset < len(slots)}
    _run_steps(plan.steps, arrays)
    shapes = [o.spec.shape for o in plan.graph.outputs]
    return [arrays[o].reshape(shape).copy() for o, shape in zip(plan.outputs, shapes)]


def _run_steps(steps, arrays: dict) -> None:
    for step in steps:
        k = step.kernel
        if isinstance(k, ScanKernel):
            for iteration in range(k.count):
                _run_steps(step.body, arrays | _arrays_in_iteration(k, iteration, arrays))
            continue
        loop = k if isinstance(k, LoopKernel) else k.epilogue
        if isinstance(k, KernelCall):
            _store(arrays, _call(k, arrays))
        if loop:
            _store(arrays, interpret(loop, arrays))


def _arrays_in_iteration(k: ScanKernel, iteration: int, arrays: dict) -> dict:
    """The slices of the stacked arrays and the carries of one iteration of a scan."""
    def output_of(carry, iteration):
        if iteration < 0:
            return arrays[carry.init]
        return arrays[carry.spare if (k.count - 1 - iteration) % 2 else carry.final]

    index = k.count - 1 - iteration if k.reverse else iteration
    local = {p.element: arrays[p.stacked].reshape(k.count, *p.element.spec.shape)[index, ...]
             for p in k.slices}
    for c in k.carries:
        local |= {c.input: output_of(c, iteration - 1).reshape(c.input.spec.shape),
                  c.output: output_of(c, iteration).reshape(c.output.spec.shape)}
    return local


def _store(arrays, results: dict) -> None:
    for var, value in results.items():
        arrays[var][...] = value.reshape(arrays[var].shape)


def _array(atom, location, arena, slots) -> np.ndarray:
    raw = arena[location.offset:location.offset + atom.spec.size_bytes] \
        if location.space == "arena" else slots[location.offset].reshape(-1)
    return raw.view(atom.spec.dtype.name).reshape(atom.spec.shape)


def _constant(const: Const) -> np.ndarray:
    return np.frombuffer(const.value, const.spec.dtype.name).reshape(const.spec.shape).copy()


def _call(k: KernelCall, arrays) -> dict:
    """The results of an engine kernel, from the reference implementation of its primitive."""
    e, = k.eqns
    arguments = [arrays[a].reshape(arg.spec.shape) for a, arg in zip(k.args, e.args)]
    outs = as_tuple(e.prim.reference_impl(np, *arguments, **e.attrs))
    return {var: np.asarray(out).astype(var.spec.dtype.name)
            for var, out in zip(k.outs, outs, strict=True)}
