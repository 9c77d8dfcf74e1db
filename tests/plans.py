"""Plans carried out by NumPy: an arena that is really reused, Variables really overwritten."""
from dataclasses import replace

import numpy as np
from loop_meaning import interpret

from tensorbrook.backends.wasm import Wasm
from tensorbrook.compiler import fuse, plan, simplify
from tensorbrook.ir import Call, Const, Graph, Loop, Plan, Repeat, several
from tensorbrook.ir.check import check_graph, check_plan


def compiled(graph: Graph, buffers: int = 1 << 30, **others) -> Plan:
    """The plan of a graph for limits like those of `wasm`, checked at every stage."""
    check_graph(graph)
    simple = simplify(graph)
    check_graph(simple)
    limits = replace(Wasm.limits, buffers=buffers, **others)
    made = plan(simple, *fuse(simple, limits), limits)
    check_plan(made)
    return made


def too_many_buffers(made: Plan, most: int) -> list:
    """The kernels that touch more buffers than `most`; a call by itself has its own."""
    over = {made.outputs[i]: made.inputs[j] for i, j in made.updates.items()}
    pending, found = [step.kernel for step in made.steps], []
    while pending:
        k = pending.pop()
        if isinstance(k, Repeat):
            pending += k.kernels
        elif not isinstance(k, Call) or k.epilogue:
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
        slots.append(slots[made.updates[i]] if i in made.updates
                     else np.full(o.spec.shape, 77).astype(o.spec.dtype.name))
    arrays = {atom: _array(atom, place, arena, slots) for atom, place in made.places.items()
              if place.kind == "arena" or place.at < len(slots)}
    _carry_out(made.steps, arrays)
    wanted = [o.spec.shape for o in made.graph.outputs]
    return [arrays[o].reshape(shape).copy() for o, shape in zip(made.outputs, wanted)]


def _carry_out(steps, arrays: dict) -> None:
    for step in steps:
        k = step.kernel
        if isinstance(k, Repeat):
            for turn in range(k.count):
                _carry_out(step.inside, arrays | _in_turn(k, turn, arrays))
            continue
        loop = k if isinstance(k, Loop) else k.epilogue
        if isinstance(k, Call):
            _write(arrays, _call(k, arrays))
        if loop:
            _write(arrays, interpret(loop, arrays))


def _in_turn(k: Repeat, turn: int, arrays: dict) -> dict:
    """Where what moves from turn to turn lies in this one."""
    def end(c, turn):
        return arrays[c.first if turn < 0 else c.spare if (k.count - 1 - turn) % 2 else c.last]

    at = k.count - 1 - turn if k.reverse else turn
    moved = {p.part: arrays[p.whole].reshape(k.count, *p.part.spec.shape)[at, ...]
             for p in k.pieces}
    for c in k.carries:
        moved |= {c.before: end(c, turn - 1).reshape(c.before.spec.shape),
                  c.after: end(c, turn).reshape(c.after.spec.shape)}
    return moved


def _write(arrays, after: dict) -> None:
    for var, value in after.items():
        arrays[var][...] = value.reshape(arrays[var].shape)


def _array(atom, place, arena, slots) -> np.ndarray:
    raw = arena[place.at:place.at + atom.spec.size_bytes] if place.kind == "arena" \
        else slots[place.at].reshape(-1)
    return raw.view(atom.spec.dtype.name).reshape(atom.spec.shape)


def _constant(const: Const) -> np.ndarray:
    return np.frombuffer(const.value, const.spec.dtype.name).reshape(const.spec.shape).copy()


def _call(k: Call, arrays) -> dict:
    """An engine's kernel, by what its primitive means."""
    e, = k.eqns
    arguments = [arrays[a].reshape(of.spec.shape) for a, of in zip(k.args, e.args)]
    outs = several(e.prim.meaning(np, *arguments, **e.attrs))
    return {var: np.asarray(out).astype(var.spec.dtype.name)
            for var, out in zip(k.outs, outs, strict=True)}
