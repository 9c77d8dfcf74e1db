"""Plans carried out by NumPy: an arena that is really reused, Variables really overwritten."""
from dataclasses import replace

import numpy as np
from loop_interpreter import interpret

from tensorbrook.backends.wasm import Wasm
from tensorbrook.compiler import fuse, build_plan, simplify
from tensorbrook.ir import KernelCall, Const, Graph, LoopKernel, Plan, ScanKernel, as_tuple
from tensorbrook.ir.verifier import verify_graph, verify_plan


def compiled(graph: Graph, buffers: int = 1 << 30, **others) -> Plan:
    """The plan of a graph for limits like those of `wasm`, checked at every stage."""
    verify_graph(graph)
    simple = simplify(graph)
    verify_graph(simple)
    target = replace(Wasm.target, max_buffers_per_kernel=buffers, **others)
    made = build_plan(simple, *fuse(simple, target), target)
    verify_plan(made)
    return made


def too_many_buffers(made: Plan, most: int) -> list:
    """The kernels that touch more buffers than `most`; a call by itself has its own."""
    over = {made.outputs[i]: made.inputs[j] for i, j in made.input_output_aliases.items()}
    pending, found = [step.kernel for step in made.steps], []
    while pending:
        k = pending.pop()
        if isinstance(k, ScanKernel):
            pending += k.kernels
        elif not isinstance(k, KernelCall) or k.epilogue:
            touched = {over.get(a, a) for a in (*k.reads, *k.writes)}
            found += [k] if len(touched) > most else []
    return found


def plan_of(f, *arguments) -> Plan:
    """The plan of a tf.function for those arguments."""
    return compiled(f.get_concrete_function(*arguments).graph)


def carry_out(made: Plan, inputs) -> list[np.ndarray]:
    """The outputs; those that update an input are written over it."""
    arena = np.full(made.arena_size, 0xA5, np.uint8)
    slots = [np.array(x) for x in inputs] + [_constant(c) for c in made.constants]
    for i, o in enumerate(made.outputs):
        slots.append(slots[made.input_output_aliases[i]] if i in made.input_output_aliases
                     else np.full(o.spec.shape, 77).astype(o.spec.dtype.name))
    arrays = {atom: _array(atom, place, arena, slots) for atom, place in made.buffer_locations.items()
              if place.space == "arena" or place.offset < len(slots)}
    _carry_out(made.steps, arrays)
    wanted = [o.spec.shape for o in made.graph.outputs]
    return [arrays[o].reshape(shape).copy() for o, shape in zip(made.outputs, wanted)]


def _carry_out(steps, arrays: dict) -> None:
    for step in steps:
        k = step.kernel
        if isinstance(k, ScanKernel):
            for turn in range(k.count):
                _carry_out(step.body, arrays | _in_turn(k, turn, arrays))
            continue
        loop = k if isinstance(k, LoopKernel) else k.epilogue
        if isinstance(k, KernelCall):
            _write(arrays, _call(k, arrays))
        if loop:
            _write(arrays, interpret(loop, arrays))


def _in_turn(k: ScanKernel, turn: int, arrays: dict) -> dict:
    """Where what moves from turn to turn lies in this one."""
    def end(c, turn):
        return arrays[c.init if turn < 0 else c.spare if (k.count - 1 - turn) % 2 else c.final]

    at = k.count - 1 - turn if k.reverse else turn
    moved = {p.element: arrays[p.stacked].reshape(k.count, *p.element.spec.shape)[at, ...]
             for p in k.pieces}
    for c in k.carries:
        moved |= {c.input: end(c, turn - 1).reshape(c.input.spec.shape),
                  c.output: end(c, turn).reshape(c.output.spec.shape)}
    return moved


def _write(arrays, after: dict) -> None:
    for var, value in after.items():
        arrays[var][...] = value.reshape(arrays[var].shape)


def _array(atom, place, arena, slots) -> np.ndarray:
    raw = arena[place.offset:place.offset + atom.spec.size_bytes] if place.space == "arena" \
        else slots[place.offset].reshape(-1)
    return raw.view(atom.spec.dtype.name).reshape(atom.spec.shape)


def _constant(const: Const) -> np.ndarray:
    return np.frombuffer(const.value, const.spec.dtype.name).reshape(const.spec.shape).copy()


def _call(k: KernelCall, arrays) -> dict:
    """An engine's kernel, by what its primitive means."""
    e, = k.eqns
    arguments = [arrays[a].reshape(of.spec.shape) for a, of in zip(k.args, e.args)]
    outs = as_tuple(e.prim.reference_impl(np, *arguments, **e.attrs))
    return {var: np.asarray(out).astype(var.spec.dtype.name)
            for var, out in zip(k.outs, outs, strict=True)}
