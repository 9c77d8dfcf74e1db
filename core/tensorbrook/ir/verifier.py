"""Verifier: asserts the invariants of graphs, loops and plans. The tests run it on every plan."""
from collections.abc import Callable, Iterator
from math import prod

from ..base import shapes
from ..base.views import View
from .graph import Atom, Const, Eqn, Graph, Var, as_tuple
from .kernels import (ElementwiseOp, FiniteCheckStore, IndexValue, Kernel, KernelCall, Load,
                      LoopKernel, ReduceOp, ScanKernel, generated_loop)
from .plan import Plan, ScheduledKernel


def verify_graph(graph: Graph) -> None:
    """Each variable is defined once and before its use, with the spec that its primitive infers."""
    assert len(set(graph.inputs)) == len(graph.inputs), "an input occurs twice"
    defined = set(graph.inputs)
    for e in graph.eqns:
        name = e.prim.name
        assert not defined & set(e.outs), f"{name}: a result is defined twice"
        assert all(isinstance(a, Const) or a in defined for a in e.args), \
            f"{name} uses an undefined variable"
        _verify_results(e)
        defined.update(e.outs)
    assert all(isinstance(o, Const) or o in defined for o in graph.outputs), \
        "an output is undefined"
    _verify_aliases(graph.input_output_aliases, graph.inputs, graph.outputs)


def _verify_results(e: Eqn) -> None:
    name = e.prim.name
    specs = as_tuple(e.prim.spec(*e.operand_specs, **e.attrs))
    assert len(specs) == len(e.outs), f"{name} has {len(specs)} results, not {len(e.outs)}"
    assert len(specs) == 1 or e.prim.kind in ("kernel", "scan"), f"{name} has several results"
    if e.prim.kind == "scan":
        verify_graph(e.attrs["body"].graph)
    for spec, out in zip(specs, e.outs):
        assert spec.dtype is out.spec.dtype, f"{name} results in {spec}, not {out.spec}"
        # Scalars may replace uniform operands of an elementwise equation, also all of its operands.
        broadcasts = e.prim.kind == "elementwise" and shapes.broadcast(
            name, spec.shape, out.spec.shape) == out.spec.shape
        assert spec == out.spec or broadcasts, f"{name} results in {spec}, not {out.spec}"


def _verify_aliases(aliases, inputs, outputs) -> None:
    assert len(set(aliases.values())) == len(aliases), "two outputs alias one input"
    for i, j in aliases.items():
        output, input = outputs[i].spec, inputs[j].spec
        # In a plan an output may be a reshaped view, so only the size must agree.
        assert (output.count, output.dtype) == (input.count, input.dtype), \
            f"output {i} and input {j} differ in size or dtype"


def verify_plan(plan: Plan) -> None:
    """Verify that kernels access only their buffers, read only written memory, and synchronize."""
    _verify_locations(plan)
    _verify_aliases(plan.input_output_aliases, plan.inputs, plan.outputs)
    for step in walk_steps(plan.steps):
        k = step.kernel
        assert k.writes and not set(k.writes) & (set(plan.inputs) | set(plan.constants)), \
            "a kernel writes nothing, or writes to an input"
        for loop in _loops(k):
            verify_loop(loop)
        if isinstance(k, KernelCall) and k.epilogue:
            _verify_epilogue(k, k.epilogue)
    _verify_lifetimes(plan)
    _verify_coverage(plan)
    _verify_barriers(plan)


def _loops(k: Kernel) -> list[LoopKernel]:
    loop = generated_loop(k)
    return [loop] if loop else []


def _verify_epilogue(k: KernelCall, loop: LoopKernel) -> None:
    assert loop.iteration_space == k.result_matrix_shape, \
        f"an epilogue over {loop.iteration_space} for a result {k.result_matrix_shape}"
    assert len(loop.passes) == 1 and not loop.reduction_axes, "an epilogue has a reduction"
    for value in loop.values:
        if isinstance(value, Load) and value.source in k.outs:
            assert value.view.contiguous, "an epilogue reads an element that is not computed yet"


def walk_steps(steps: tuple[ScheduledKernel, ...]) -> Iterator[ScheduledKernel]:
    """The scheduled kernels, each followed by the scheduled kernels of its body."""
    for step in steps:
        yield step
        yield from walk_steps(step.body)


def _verify_locations(plan: Plan) -> None:
    rotating = [location.offset for location in plan.buffer_locations.values()
                if location.space == "slot"
                and location.offset >= plan.slots - plan.rotating_slots]
    assert len(set(rotating)) == len(rotating) and max(rotating, default=-1) < plan.slots, \
        "rotating slots collide"
    for i, atom in enumerate((*plan.inputs, *plan.constants, *plan.outputs)):
        location = plan.buffer_locations[atom]
        assert (location.space, location.offset) == ("slot", i), f"slot {i} is at {location}"
    for atom, location in plan.buffer_locations.items():
        if location.space == "arena":
            aligned = location.offset % plan.target.buffer_alignment == 0 <= location.offset
            assert aligned, f"{atom.spec} is not aligned"
            end = location.offset + plan.target.bytes_of(atom.spec)
            assert end <= plan.arena_size, f"{atom.spec} exceeds the arena"


# ── loops ─────────────────────────────────────────────────────────────────────────────────────


def verify_loop(loop: LoopKernel) -> None:
    """Operands are defined and in scope, views stay inside their buffers, and dtypes agree."""
    for i in range(len(loop.values)):
        _verify_value(loop, i)
    for s in loop.stores:
        space = loop.reduced_space if loop.value_sites[s.value][1] else loop.iteration_space
        _verify_view(s.view, space, s.target)
        if isinstance(s, FiniteCheckStore):
            assert s.target.spec.count == 1 and loop.values[s.value].dtype.is_floating, \
                "a finite check has a floating value and a scalar target"
            continue
        assert loop.values[s.value].dtype is s.target.spec.dtype, "a store changes the dtype"
        offsets = _offsets(s.view)
        assert len(set(offsets)) == len(offsets), "two elements are stored at one offset"


def _verify_value(loop: LoopKernel, i: int) -> None:
    value, (pass_index, post_reduce) = loop.values[i], loop.value_sites[i]
    space = loop.reduced_space if post_reduce else loop.iteration_space
    if isinstance(value, Load):
        _verify_view(value.view, space, value.source)
        dtype = value.source.spec.dtype
        assert value.dtype is dtype or value.dtype.kind == dtype.kind == "f", \
            "a load changes the dtype"
    if isinstance(value, IndexValue):
        assert len(value.strides) == len(space), "an index has one stride per axis"
    if isinstance(value, ElementwiseOp):
        assert all(_in_scope(loop, i, a) for a in value.args), f"value {i} uses {value.args}"
    if isinstance(value, ReduceOp):
        assert post_reduce and loop.reduction_axes and value.arg >= 0, \
            f"value {i} reduces {value.arg}"
        assert loop.value_sites[value.arg] == (pass_index, False), \
            "a reduction of a value of another pass"


def _in_scope(loop: LoopKernel, i: int, arg: int) -> bool:
    """Whether value i may use value `arg`, by the rules of kernels.py."""
    (pass_index, post_reduce), (arg_pass, arg_post_reduce) = \
        loop.value_sites[i], loop.value_sites[arg]
    in_scope = arg_post_reduce if post_reduce else not arg_post_reduce or arg_pass < pass_index
    return 0 <= arg < i and in_scope


def _verify_view(view: View, space, atom: Atom) -> None:
    assert tuple(view.shape) == tuple(space), f"a view of {view.shape} in a loop over {space}"
    if prod(space):
        ends = [(n - 1) * s for n, s in zip(view.shape, view.strides)]
        low = view.offset + sum(min(0, end) for end in ends)
        high = view.offset + sum(max(0, end) for end in ends)
        assert 0 <= low and high < atom.spec.count, f"{view} exceeds a buffer of {atom.spec}"


def _offsets(view: View) -> list[int]:
    """The element offset of every index of a view."""
    offsets = [view.offset]
    for n, s in zip(view.shape, view.strides):
        offsets = [offset + i * s for offset in offsets for i in range(n)]
    return offsets


# ── memory ────────────────────────────────────────────────────────────────────────────────────


def _verify_lifetimes(plan: Plan) -> None:
    """Simulate the plan: every value that a kernel reads is the last one written to its memory."""
    # The value that each cache line of the arena, and each slot, holds at this point.
    owner: dict = {line: a for a in (*plan.inputs, *plan.constants) for line in _lines(plan, a)}
    _simulate(plan, plan.steps, owner, {*plan.inputs, *plan.constants})


def _simulate(plan: Plan, steps: tuple[ScheduledKernel, ...], owner: dict,
              written: set[Atom]) -> None:
    for step in steps:
        k = step.kernel
        for atom in k.reads:
            assert atom in written or not atom.spec.count, \
                f"{atom.spec} is read before it is written"
            assert all(owner[line] is atom for line in _lines(plan, atom)), \
                f"{atom.spec} is overwritten before it is read"
        for var in k.writes:
            lines = _lines(plan, var)
            for a in (*k.reads, *k.writes):
                is_disjoint = a is var or lines.isdisjoint(_lines(plan, a))
                assert is_disjoint or _updates_in_place(k, var, a), \
                    "a result overwrites an operand or another result"
            owner |= dict.fromkeys(lines, var)
            written.add(var)
        if isinstance(k, ScanKernel):
            _simulate_scan(plan, step, k, owner, written)


def _simulate_scan(plan: Plan, step: ScheduledKernel, scan: ScanKernel, owner: dict,
                   written: set[Atom]) -> None:
    inputs = scan.local_values - scan.written
    written |= inputs
    for _ in range(2):                  # the second iteration reads after the first has written
        owner |= {line: v for v in inputs for line in _lines(plan, v)}
        _simulate(plan, step.body, owner, written)
    for atom in (*scan.reads, *scan.writes):
        assert all(owner[line] is atom for line in _lines(plan, atom)), \
            f"{atom.spec} is overwritten within an iteration"


def _updates_in_place(k: Kernel, new: Atom, old: Atom) -> bool:
    """Whether `new` may share the memory of `old`, which the kernel reads or also writes."""
    return _is_elementwise_update(k, new, old) or \
        old in k.writes and _is_elementwise_update(k, old, new)


def _is_elementwise_update(k: Kernel, new: Atom, old: Atom) -> bool:
    """Whether an element of `old` is read only at the index that overwrites it, and before that."""
    if isinstance(k, KernelCall) and (old in k.args or new in k.outs):
        return False
    return any(_has_same_index_maps(loop, new, old) for loop in _loops(k))


def _has_same_index_maps(loop: LoopKernel, new: Atom, old: Atom) -> bool:
    """Whether all loads of `old` and stores of `new` have one view, and no pass follows a store."""
    views = [v.view for v in loop.values if isinstance(v, Load) and v.source is old]
    stores = [s for s in loop.stores if s.target is new]
    in_last_pass = all(loop.value_sites[s.value][0] == len(loop.passes) - 1 for s in stores)
    same_view = all(s.view == view for s in stores for view in views)
    return bool(stores and views) and in_last_pass and same_view


def _lines(plan: Plan, atom: Atom) -> frozenset:
    """The cache lines of the arena that an atom occupies, or its slot; an output that aliases an
    input occupies the slot of the input."""
    location = plan.buffer_locations[atom]
    if not atom.spec.count:
        return frozenset()
    if location.space == "slot":
        return frozenset([("slot", _aliased_slots(plan).get(location.offset, location.offset))])
    line, end = plan.target.buffer_alignment, location.offset + plan.target.bytes_of(atom.spec)
    return frozenset(range(location.offset // line, -(-end // line)))


def _aliased_slots(plan: Plan) -> dict[int, int]:
    """The slot of each output that aliases an input -> the slot of the input."""
    first_output = len(plan.inputs) + len(plan.constants)
    return {first_output + i: j for i, j in plan.input_output_aliases.items()}


def _verify_coverage(plan: Plan) -> None:
    """Loops store every element of their targets, and every output is written."""
    stored: dict[Var, set] = {}
    written = {v for step in plan.steps if isinstance(step.kernel, KernelCall)
               for v in step.kernel.outs}
    written |= {v for step in plan.steps if isinstance(step.kernel, ScanKernel)
                for v in step.kernel.writes}
    for step in walk_steps(plan.steps):
        for loop in _loops(step.kernel):
            for s in loop.stores:
                stored.setdefault(s.target, set()).update(_offsets(s.view))
    for var, offsets in stored.items():
        assert len(offsets) == var.spec.count, f"{len(offsets)} elements of {var.spec} are stored"
    for o in plan.outputs:
        assert not o.spec.count or o in written or o in stored, f"output {o.spec} is not written"


# ── threads ───────────────────────────────────────────────────────────────────────────────────


def _verify_barriers(plan: Plan) -> None:
    """A barrier separates conflicting kernels, unless a single thread runs both."""
    since_barrier: list[tuple[bool, list]] = []
    for n, (step, accesses) in enumerate(_unrolled_steps(plan.steps, _byte_ranges(plan))):
        if step.barrier_before:
            since_barrier.clear()
        for parallel, earlier in since_barrier:
            if parallel or step.parallel:
                assert not any(_conflict(a, b) for a in earlier for b in accesses), \
                    f"kernel {n} needs a barrier before it"
        since_barrier.append((step.parallel, accesses))


def _byte_ranges(plan: Plan) -> Callable:
    """A function from an atom to (memory, begin, end) in bytes. Each slot is a separate memory,
    except that an output which aliases an input has the memory of the input."""
    aliased = _aliased_slots(plan)

    def byte_range(atom: Atom):
        location, size = plan.buffer_locations[atom], plan.target.bytes_of(atom.spec)
        if location.space == "slot":
            return aliased.get(location.offset, location.offset), 0, size
        return "arena", location.offset, location.offset + size

    return byte_range


def _unrolled_steps(steps: tuple[ScheduledKernel, ...],
                    byte_range: Callable) -> Iterator[tuple[ScheduledKernel, list]]:
    """The kernels in execution order, for up to three iterations of each scan, with their accesses
    (memory, begin, end, is a write)."""
    for step in steps:
        k = step.kernel
        if isinstance(k, ScanKernel):
            yield step, []
            for iteration in range(min(k.count, 3)):
                in_iteration = _addresses_in_iteration(k, iteration, byte_range)
                yield from _unrolled_steps(step.body, in_iteration)
        else:
            accesses = [(*byte_range(v), True) for v in k.writes]
            yield step, accesses + [(*byte_range(v), False) for v in k.reads]


def _addresses_in_iteration(k: ScanKernel, iteration: int, byte_range: Callable) -> Callable:
    """`byte_range` extended to the carries and slices of one iteration."""
    def carry_after(c, iteration: int) -> Atom:
        if iteration < 0:
            return c.init
        return c.spare if (k.count - 1 - iteration) % 2 else c.final

    def slice_range(stacked: Atom):
        memory, begin, end = byte_range(stacked)
        size = (end - begin) // k.count
        begin += size * (k.count - 1 - iteration if k.reverse else iteration)
        return memory, begin, begin + size

    rotating = {c.input: byte_range(carry_after(c, iteration - 1)) for c in k.carries}
    rotating |= {c.output: byte_range(carry_after(c, iteration)) for c in k.carries}
    rotating |= {s.element: slice_range(s.stacked) for s in k.slices}
    return lambda atom: rotating.get(atom) or byte_range(atom)


def _conflict(a, b) -> bool:
    memory_a, begin_a, end_a, writes_a = a
    memory_b, begin_b, end_b, writes_b = b
    overlap = memory_a == memory_b and begin_a < end_b and begin_b < end_a
    return overlap and (writes_a or writes_b)
