"""What must hold of every graph and every plan, one assertion a fact; the tests ask for it."""
from collections.abc import Callable, Iterator
from math import prod

from ..base import shapes
from ..base.views import View
from .graph import Atom, Const, Eqn, Graph, Var, several
from .kernel import (Apply, Call, Index, Kernel, Load, Loop, Mark, Plan, Reduced, Repeat, Step,
                     generated)


def check_graph(graph: Graph) -> None:
    """Each variable is defined once and before it is read, and is what its primitive says."""
    assert len(set(graph.inputs)) == len(graph.inputs), "an input stands twice"
    defined = set(graph.inputs)
    for e in graph.eqns:
        name = e.prim.name
        assert not defined & set(e.outs), f"{name}: its result is defined twice"
        assert all(isinstance(a, Const) or a in defined for a in e.args), f"{name} reads too early"
        _check_results(e)
        defined.update(e.outs)
    assert all(isinstance(o, Const) or o in defined for o in graph.outputs), "an output is missing"
    _check_updates(graph.updates, graph.inputs, graph.outputs)


def _check_results(e: Eqn) -> None:
    name = e.prim.name
    specs = several(e.prim.spec(*[a.spec for a in e.args], **e.attrs))
    assert len(specs) == len(e.outs), f"{name} gives {len(specs)} results, not {len(e.outs)}"
    assert len(specs) == 1 or e.prim.kind in ("call", "scan"), f"{name} has several results"
    if e.prim.kind == "scan":
        check_graph(e.attrs["body"].graph)
    for spec, out in zip(specs, e.outs):
        assert spec.dtype is out.spec.dtype, f"{name} gives {spec}, not {out.spec}"
        # A map of numbers stands for one of tensors that are full of them.
        stretches = e.prim.kind == "map" and shapes.broadcast(
            name, spec.shape, out.spec.shape) == out.spec.shape
        assert spec == out.spec or stretches, f"{name} gives {spec}, not {out.spec}"


def _check_updates(updates, inputs, outputs) -> None:
    assert len(set(updates.values())) == len(updates), "two outputs are the new value of one input"
    for i, j in updates.items():
        new, old = outputs[i].spec, inputs[j].spec
        # In a plan a result may lie in the buffer of another shape that it is a view of.
        assert (new.count, new.dtype) == (old.count, old.dtype), \
            f"output {i} does not fit over input {j}"


def check_plan(plan: Plan) -> None:
    """Kernels stay inside their buffers, read only what was written, and wait where they must."""
    _check_places(plan)
    _check_updates(plan.updates, plan.inputs, plan.outputs)
    for step in _all(plan.steps):
        k = step.kernel
        assert k.writes and not set(k.writes) & (set(plan.inputs) | set(plan.constants)), \
            "a kernel writes nothing, or writes to an input"
        for loop in _loops(k):
            check_loop(loop)
        if isinstance(k, Call) and k.epilogue:
            _check_epilogue(k, k.epilogue)
    _check_contents(plan)
    _check_outputs(plan)
    _check_barriers(plan)


def _loops(k: Kernel) -> list[Loop]:
    """What of a kernel is generated."""
    after = generated(k)
    return [after] if after else []


def _check_epilogue(k: Call, loop: Loop) -> None:
    assert loop.space == k.rectangle, f"an epilogue over {loop.space} of {k.rectangle}"
    assert len(loop.stages) == 1 and not loop.axes, "an epilogue folds"
    for value in loop.values:
        if isinstance(value, Load) and value.source in k.outs:
            assert value.view.contiguous, "an epilogue reads what is not yet final"


def _all(steps: tuple[Step, ...]) -> Iterator[Step]:
    """Steps, and behind each those within it."""
    for step in steps:
        yield step
        yield from _all(step.inside)


def _check_places(plan: Plan) -> None:
    moving = [place.at for place in plan.places.values()
              if place.kind == "slot" and place.at >= plan.slots - plan.moving]
    assert len(set(moving)) == len(moving) and max(moving, default=-1) < plan.slots, \
        "slots collide"
    for i, atom in enumerate((*plan.inputs, *plan.constants, *plan.outputs)):
        place = plan.places[atom]
        assert (place.kind, place.at) == ("slot", i), f"slot {i} is at {place}"
    for atom, place in plan.places.items():
        if place.kind == "arena":
            begins = place.at % plan.limits.line == 0 <= place.at
            assert begins, f"{atom.spec} does not begin on a cache line"
            end = place.at + plan.limits.bytes_of(atom.spec)
            assert end <= plan.arena_size, f"{atom.spec} leaves the arena"


# ── loops ─────────────────────────────────────────────────────────────────────────────────────


def check_loop(loop: Loop) -> None:
    for i, value in enumerate(loop.values):
        late = loop.parts[i][1]
        space = loop.outer if late else loop.space
        if isinstance(value, Load):
            _check_view(value.view, space, value.source)
            dtype = value.source.spec.dtype
            assert value.dtype is dtype or value.dtype.kind == dtype.kind == "f", \
                "a load changes the dtype"
        if isinstance(value, Index):
            assert len(value.weights) == len(space), "an index has a weight for each axis"
        if isinstance(value, Apply):
            assert all(_may_read(loop, i, a) for a in value.args), f"value {i} reads {value.args}"
        if isinstance(value, Reduced):
            assert late and loop.axes and value.arg >= 0, f"value {i} folds {value.arg}"
            assert loop.parts[value.arg] == (loop.parts[i][0], False), "a fold of another stage"
    for s in loop.stores:
        _check_view(s.view, loop.outer if loop.parts[s.value][1] else loop.space, s.target)
        if isinstance(s, Mark):
            assert s.target.spec.count == 1 and loop.values[s.value].dtype.is_floating, \
                "a mark is one truth about floats"
            continue
        assert loop.values[s.value].dtype is s.target.spec.dtype, "a store changes the dtype"
        places = list(_places(s.view))
        assert len(set(places)) == len(places), "two elements are stored to one place"


def _may_read(loop: Loop, i: int, arg: int) -> bool:
    """A tail reads tails; a body reads bodies, and the tails of stages before its own."""
    (stage, late), (its_stage, is_late) = loop.parts[i], loop.parts[arg]
    return 0 <= arg < i and (is_late if late else not is_late or its_stage < stage)


def _check_view(view: View, space, atom: Atom) -> None:
    assert tuple(view.shape) == tuple(space), f"a view of {view.shape} in a loop over {space}"
    if prod(space):
        ends = [(n - 1) * s for n, s in zip(view.shape, view.strides)]
        low = view.offset + sum(min(0, end) for end in ends)
        high = view.offset + sum(max(0, end) for end in ends)
        assert 0 <= low and high < atom.spec.count, f"{view} leaves a buffer of {atom.spec}"


def _places(view: View):
    """Where the elements of a view lie, one by one."""
    places = [view.offset]
    for n, s in zip(view.shape, view.strides):
        places = [p + i * s for p in places for i in range(n)]
    return places


# ── memory ────────────────────────────────────────────────────────────────────────────────────


def _check_contents(plan: Plan) -> None:
    """Play the plan with a note on each cache line of the arena, and on each slot, of who wrote it
    last."""
    owner: dict = {line: a for a in (*plan.inputs, *plan.constants) for line in _lines(plan, a)}
    _play(plan, plan.steps, owner, {*plan.inputs, *plan.constants})


def _play(plan: Plan, steps: tuple[Step, ...], owner: dict, begun: set[Atom]) -> None:
    for step in steps:
        k = step.kernel
        for atom in k.reads:
            assert atom in begun or not atom.spec.count, f"{atom.spec} is read before it is written"
            assert all(owner[line] is atom for line in _lines(plan, atom)), \
                f"{atom.spec} was overwritten before it was read"
        for var in k.writes:
            lines = _lines(plan, var)
            for a in (*k.reads, *k.writes):
                assert a is var or lines.isdisjoint(_lines(plan, a)) or _in_step(k, var, a) \
                    or a in k.writes and _in_step(k, a, var), "a kernel writes over what it reads"
            owner |= dict.fromkeys(lines, var)
            begun.add(var)
        if isinstance(step.kernel, Repeat):
            given = step.kernel.inside - step.kernel.written
            begun |= given
            for _ in range(2):                              # of a turn, and of that after it
                owner |= {line: v for v in given for line in _lines(plan, v)}
                _play(plan, step.inside, owner, begun)
            for atom in (*step.kernel.reads, *step.kernel.writes):
                assert all(owner[line] is atom for line in _lines(plan, atom)), \
                    f"{atom.spec} is overwritten within a turn"


def _in_step(k: Kernel, new: Atom, old: Atom) -> bool:
    """Whether each element of `old` is read only at the index that writes over it, and there
    before it is written: no stage follows that might read it again."""
    if isinstance(k, Call) and (old in k.args or new in k.outs):
        return False
    return any(_element_by_element(loop, new, old) for loop in _loops(k))


def _element_by_element(loop: Loop, new: Atom, old: Atom) -> bool:
    views = [v.view for v in loop.values if isinstance(v, Load) and v.source is old]
    stores = [s for s in loop.stores if s.target is new]
    last = all(loop.parts[s.value][0] == len(loop.stages) - 1 for s in stores)
    return bool(stores and views) and last and all(s.view == view for s in stores for view in views)


def _lines(plan: Plan, atom: Atom) -> frozenset:
    """The cache lines of the arena that an atom takes, or its slot; that of an input which an
    output is written over is the output's too."""
    place = plan.places[atom]
    if not atom.spec.count:
        return frozenset()
    if place.kind == "slot":
        over = {len(plan.inputs) + len(plan.constants) + i: j for i, j in plan.updates.items()}
        return frozenset([("slot", over.get(place.at, place.at))])
    line, end = plan.limits.line, place.at + plan.limits.bytes_of(atom.spec)
    return frozenset(range(place.at // line, -(-end // line)))


def _check_outputs(plan: Plan) -> None:
    """Every element of every result of a loop is written."""
    written: dict[Var, set] = {}
    called = {v for step in plan.steps if isinstance(step.kernel, Call) for v in step.kernel.outs}
    called |= {v for step in plan.steps if isinstance(step.kernel, Repeat)
               for v in step.kernel.writes}
    for step in _all(plan.steps):
        for loop in _loops(step.kernel):
            for s in loop.stores:
                written.setdefault(s.target, set()).update(_places(s.view))
    for var, places in written.items():
        assert len(places) == var.spec.count, f"{var.spec} is written in {len(places)} places"
    for o in plan.outputs:
        assert not o.spec.count or o in called or o in written, f"output {o.spec} is not written"


# ── threads ───────────────────────────────────────────────────────────────────────────────────


def _check_barriers(plan: Plan) -> None:
    """Between two kernels of which one writes what the other touches stands a barrier, unless one
    thread does both."""
    since: list[tuple[bool, list]] = []
    for n, (step, touched) in enumerate(_carried_out(plan.steps, _memory(plan))):
        if step.barrier:
            since.clear()
        for split, earlier in since:
            if split or step.split:
                assert not any(_meet(a, b) for a in earlier for b in touched), \
                    f"kernel {n} needs a barrier before it"
        since.append((step.split, touched))


def _memory(plan: Plan) -> Callable:
    """Which (memory, begin, end) in bytes an atom takes; each slot is a memory of its own, but for
    outputs that may lie over the input that they update."""
    first = len(plan.inputs) + len(plan.constants)
    over = {first + i: j for i, j in plan.updates.items()}

    def at(atom: Atom):
        place, size = plan.places[atom], plan.limits.bytes_of(atom.spec)
        if place.kind == "slot":
            return over.get(place.at, place.at), 0, size
        return "arena", place.at, place.at + size

    return at


def _carried_out(steps: tuple[Step, ...], at: Callable) -> Iterator[tuple[Step, list]]:
    """Each step as it is carried out, in the first three turns of a Repeat too, with what it
    touches: (memory, begin, end, whether it writes)."""
    for step in steps:
        k = step.kernel
        if isinstance(k, Repeat):
            yield step, []
            for turn in range(min(k.count, 3)):
                yield from _carried_out(step.inside, _in_turn(k, turn, at))
        else:
            yield step, [(*at(v), True) for v in k.writes] + [(*at(v), False) for v in k.reads]


def _in_turn(k: Repeat, turn: int, outside: Callable) -> Callable:
    """`at` for what is inside of a turn."""
    def end_of(c, turn: int) -> Atom:
        return c.first if turn < 0 else c.spare if (k.count - 1 - turn) % 2 else c.last

    def piece(whole: Atom):
        memory, begin, end = outside(whole)
        size = (end - begin) // k.count
        begin += size * (k.count - 1 - turn if k.reverse else turn)
        return memory, begin, begin + size

    moved = {c.before: outside(end_of(c, turn - 1)) for c in k.carries}
    moved |= {c.after: outside(end_of(c, turn)) for c in k.carries}
    moved |= {p.part: piece(p.whole) for p in k.pieces}
    return lambda atom: moved.get(atom) or outside(atom)


def _meet(a, b) -> bool:
    return a[0] == b[0] and a[1] < b[2] and b[1] < a[2] and (a[3] or b[3])
