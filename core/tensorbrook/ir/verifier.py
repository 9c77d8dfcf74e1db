"""What must hold of every graph and every plan, one assertion a fact; the tests ask for it."""
from collections.abc import Callable, Iterator
from math import prod

from ..base import shapes
from ..base.views import View
from .graph import Atom, Const, Eqn, Graph, Var, as_tuple
from .kernel import (ElementwiseOp, KernelCall, IndexValue, Kernel, Load, LoopKernel, FiniteCheckStore, Plan, ReduceOp, ScanKernel, ScheduledKernel,
                     generated_loop)


def verify_graph(graph: Graph) -> None:
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
    _check_updates(graph.input_output_aliases, graph.inputs, graph.outputs)


def _check_results(e: Eqn) -> None:
    name = e.prim.name
    specs = as_tuple(e.prim.spec(*[a.spec for a in e.args], **e.attrs))
    assert len(specs) == len(e.outs), f"{name} gives {len(specs)} results, not {len(e.outs)}"
    assert len(specs) == 1 or e.prim.kind in ("kernel", "scan"), f"{name} has several results"
    if e.prim.kind == "scan":
        verify_graph(e.attrs["body"].graph)
    for spec, out in zip(specs, e.outs):
        assert spec.dtype is out.spec.dtype, f"{name} gives {spec}, not {out.spec}"
        # A map of numbers stands for one of tensors that are full of them.
        stretches = e.prim.kind == "elementwise" and shapes.broadcast(
            name, spec.shape, out.spec.shape) == out.spec.shape
        assert spec == out.spec or stretches, f"{name} gives {spec}, not {out.spec}"


def _check_updates(updates, inputs, outputs) -> None:
    assert len(set(updates.values())) == len(updates), "two outputs are the new value of one input"
    for i, j in updates.items():
        new, old = outputs[i].spec, inputs[j].spec
        # In a plan a result may lie in the buffer of another shape that it is a view of.
        assert (new.count, new.dtype) == (old.count, old.dtype), \
            f"output {i} does not fit over input {j}"


def verify_plan(plan: Plan) -> None:
    """Kernels stay inside their buffers, read only what was written, and wait where they must."""
    _check_places(plan)
    _check_updates(plan.input_output_aliases, plan.inputs, plan.outputs)
    for step in walk_steps(plan.steps):
        k = step.kernel
        assert k.writes and not set(k.writes) & (set(plan.inputs) | set(plan.constants)), \
            "a kernel writes nothing, or writes to an input"
        for loop in _loops(k):
            verify_loop(loop)
        if isinstance(k, KernelCall) and k.epilogue:
            _check_epilogue(k, k.epilogue)
    _check_contents(plan)
    _check_outputs(plan)
    _check_barriers(plan)


def _loops(k: Kernel) -> list[LoopKernel]:
    """What of a kernel is generated."""
    after = generated_loop(k)
    return [after] if after else []


def _check_epilogue(k: KernelCall, loop: LoopKernel) -> None:
    assert loop.iteration_space == k.result_matrix_shape, f"an epilogue over {loop.iteration_space} of {k.result_matrix_shape}"
    assert len(loop.passes) == 1 and not loop.reduction_axes, "an epilogue folds"
    for value in loop.values:
        if isinstance(value, Load) and value.source in k.outs:
            assert value.view.contiguous, "an epilogue reads what is not yet final"


def walk_steps(steps: tuple[ScheduledKernel, ...]) -> Iterator[ScheduledKernel]:
    """Steps, and behind each those within it."""
    for step in steps:
        yield step
        yield from walk_steps(step.body)


def _check_places(plan: Plan) -> None:
    moving = [place.offset for place in plan.buffer_locations.values()
              if place.space == "slot" and place.offset >= plan.slots - plan.rotating_slots]
    assert len(set(moving)) == len(moving) and max(moving, default=-1) < plan.slots, \
        "slots collide"
    for i, atom in enumerate((*plan.inputs, *plan.constants, *plan.outputs)):
        place = plan.buffer_locations[atom]
        assert (place.space, place.offset) == ("slot", i), f"slot {i} is at {place}"
    for atom, place in plan.buffer_locations.items():
        if place.space == "arena":
            begins = place.offset % plan.target.buffer_alignment == 0 <= place.offset
            assert begins, f"{atom.spec} does not begin on a cache line"
            end = place.offset + plan.target.bytes_of(atom.spec)
            assert end <= plan.arena_size, f"{atom.spec} leaves the arena"


# ── loops ─────────────────────────────────────────────────────────────────────────────────────


def verify_loop(loop: LoopKernel) -> None:
    for i, value in enumerate(loop.values):
        late = loop.value_sites[i][1]
        space = loop.reduced_space if late else loop.iteration_space
        if isinstance(value, Load):
            _check_view(value.view, space, value.source)
            dtype = value.source.spec.dtype
            assert value.dtype is dtype or value.dtype.kind == dtype.kind == "f", \
                "a load changes the dtype"
        if isinstance(value, IndexValue):
            assert len(value.strides) == len(space), "an index has a weight for each axis"
        if isinstance(value, ElementwiseOp):
            assert all(_may_read(loop, i, a) for a in value.args), f"value {i} reads {value.args}"
        if isinstance(value, ReduceOp):
            assert late and loop.reduction_axes and value.arg >= 0, f"value {i} folds {value.arg}"
            assert loop.value_sites[value.arg] == (loop.value_sites[i][0], False), "a fold of another stage"
    for s in loop.stores:
        _check_view(s.view, loop.reduced_space if loop.value_sites[s.value][1] else loop.iteration_space, s.target)
        if isinstance(s, FiniteCheckStore):
            assert s.target.spec.count == 1 and loop.values[s.value].dtype.is_floating, \
                "a mark is one truth about floats"
            continue
        assert loop.values[s.value].dtype is s.target.spec.dtype, "a store changes the dtype"
        places = list(_places(s.view))
        assert len(set(places)) == len(places), "two elements are stored to one place"


def _may_read(loop: LoopKernel, i: int, arg: int) -> bool:
    """A tail reads tails; a body reads bodies, and the tails of stages before its own."""
    (stage, late), (its_stage, is_late) = loop.value_sites[i], loop.value_sites[arg]
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
    _simulate(plan, plan.steps, owner, {*plan.inputs, *plan.constants})


def _simulate(plan: Plan, steps: tuple[ScheduledKernel, ...], owner: dict, begun: set[Atom]) -> None:
    for step in steps:
        k = step.kernel
        for atom in k.reads:
            assert atom in begun or not atom.spec.count, f"{atom.spec} is read before it is written"
            assert all(owner[line] is atom for line in _lines(plan, atom)), \
                f"{atom.spec} was overwritten before it was read"
        for var in k.writes:
            lines = _lines(plan, var)
            for a in (*k.reads, *k.writes):
                assert a is var or lines.isdisjoint(_lines(plan, a)) or _is_elementwise_update(k, var, a) \
                    or a in k.writes and _is_elementwise_update(k, a, var), "a kernel writes over what it reads"
            owner |= dict.fromkeys(lines, var)
            begun.add(var)
        if isinstance(step.kernel, ScanKernel):
            given = step.kernel.local_values - step.kernel.written
            begun |= given
            for _ in range(2):                              # of a turn, and of that after it
                owner |= {line: v for v in given for line in _lines(plan, v)}
                _simulate(plan, step.body, owner, begun)
            for atom in (*step.kernel.reads, *step.kernel.writes):
                assert all(owner[line] is atom for line in _lines(plan, atom)), \
                    f"{atom.spec} is overwritten within a turn"


def _is_elementwise_update(k: Kernel, new: Atom, old: Atom) -> bool:
    """Whether each element of `old` is read only at the index that writes over it, and there
    before it is written: no stage follows that might read it again."""
    if isinstance(k, KernelCall) and (old in k.args or new in k.outs):
        return False
    return any(_element_by_element(loop, new, old) for loop in _loops(k))


def _element_by_element(loop: LoopKernel, new: Atom, old: Atom) -> bool:
    views = [v.view for v in loop.values if isinstance(v, Load) and v.source is old]
    stores = [s for s in loop.stores if s.target is new]
    last = all(loop.value_sites[s.value][0] == len(loop.passes) - 1 for s in stores)
    return bool(stores and views) and last and all(s.view == view for s in stores for view in views)


def _lines(plan: Plan, atom: Atom) -> frozenset:
    """The cache lines of the arena that an atom takes, or its slot; that of an input which an
    output is written over is the output's too."""
    place = plan.buffer_locations[atom]
    if not atom.spec.count:
        return frozenset()
    if place.space == "slot":
        over = {len(plan.inputs) + len(plan.constants) + i: j for i, j in plan.input_output_aliases.items()}
        return frozenset([("slot", over.get(place.offset, place.offset))])
    line, end = plan.target.buffer_alignment, place.offset + plan.target.bytes_of(atom.spec)
    return frozenset(range(place.offset // line, -(-end // line)))


def _check_outputs(plan: Plan) -> None:
    """Every element of every result of a loop is written."""
    written: dict[Var, set] = {}
    called = {v for step in plan.steps if isinstance(step.kernel, KernelCall) for v in step.kernel.outs}
    called |= {v for step in plan.steps if isinstance(step.kernel, ScanKernel)
               for v in step.kernel.writes}
    for step in walk_steps(plan.steps):
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
    for n, (step, touched) in enumerate(_unrolled_steps(plan.steps, _memory(plan))):
        if step.barrier_before:
            since.clear()
        for split, earlier in since:
            if split or step.parallel:
                assert not any(_conflict(a, b) for a in earlier for b in touched), \
                    f"kernel {n} needs a barrier before it"
        since.append((step.parallel, touched))


def _memory(plan: Plan) -> Callable:
    """Which (memory, begin, end) in bytes an atom takes; each slot is a memory of its own, but for
    outputs that may lie over the input that they update."""
    first = len(plan.inputs) + len(plan.constants)
    over = {first + i: j for i, j in plan.input_output_aliases.items()}

    def at(atom: Atom):
        place, size = plan.buffer_locations[atom], plan.target.bytes_of(atom.spec)
        if place.space == "slot":
            return over.get(place.offset, place.offset), 0, size
        return "arena", place.offset, place.offset + size

    return at


def _unrolled_steps(steps: tuple[ScheduledKernel, ...], at: Callable) -> Iterator[tuple[ScheduledKernel, list]]:
    """Each step as it is carried out, in the first three turns of a Repeat too, with what it
    touches: (memory, begin, end, whether it writes)."""
    for step in steps:
        k = step.kernel
        if isinstance(k, ScanKernel):
            yield step, []
            for turn in range(min(k.count, 3)):
                yield from _unrolled_steps(step.body, _addresses_in_iteration(k, turn, at))
        else:
            yield step, [(*at(v), True) for v in k.writes] + [(*at(v), False) for v in k.reads]


def _addresses_in_iteration(k: ScanKernel, turn: int, outside: Callable) -> Callable:
    """`at` for what is inside of a turn."""
    def end_of(c, turn: int) -> Atom:
        return c.init if turn < 0 else c.spare if (k.count - 1 - turn) % 2 else c.final

    def piece(whole: Atom):
        memory, begin, end = outside(whole)
        size = (end - begin) // k.count
        begin += size * (k.count - 1 - turn if k.reverse else turn)
        return memory, begin, begin + size

    moved = {c.input: outside(end_of(c, turn - 1)) for c in k.carries}
    moved |= {c.output: outside(end_of(c, turn)) for c in k.carries}
    moved |= {p.element: piece(p.stacked) for p in k.pieces}
    return lambda atom: moved.get(atom) or outside(atom)


def _conflict(a, b) -> bool:
    return a[0] == b[0] and a[1] < b[2] and b[1] < a[2] and (a[3] or b[3])
