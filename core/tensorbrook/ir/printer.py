"""Graphs and plans as text: stable, one line an equation or kernel, for people and golden files."""
from .body import Subgraph
from .graph import Const, Graph, Var
from .kernel_stats import format_si, bytes_moved, flops
from .kernel import KernelCall, IndexValue, Kernel, Load, LoopKernel, FiniteCheckStore, ScalarConstant, Plan, ReduceOp, ScanKernel


class ValueNames:
    """Variables numbered in the order in which they are met: %0, %1, ..."""

    def __init__(self):
        self._seen: dict[Var, str] = {}

    def of(self, atom) -> str:
        if isinstance(atom, Const):
            return _number_text(atom.value) if atom.is_number else f"constant {atom.spec}"
        return self._seen.setdefault(atom, f"%{len(self._seen)}")

    def typed(self, atom) -> str:
        return f"{self.of(atom)}: {atom.spec}"


def format_graph(graph: Graph) -> str:
    names = ValueNames()
    lines = [f"inputs {', '.join(map(names.typed, graph.inputs))}"]
    for e in graph.eqns:
        bodies = [value.graph for value in e.attrs.values() if isinstance(value, Subgraph)]
        attrs = "".join(f" {key}={_plain(value)}" for key, value in e.attrs.items()
                        if not isinstance(value, Subgraph))
        args = ", ".join(map(names.of, e.args))
        outs = ", ".join(map(names.typed, e.outs))
        lines.append(f"  {outs} = {e.prim.name}({args}){attrs}")
        lines += [f"    {line}" for body in bodies for line in format_graph(body).splitlines()]
    lines.append(f"outputs {', '.join(map(names.of, graph.outputs))}")
    lines += [f"update input {j} with output {i}" for i, j in graph.input_output_aliases.items()]
    return "\n".join(lines)


def _number_text(n) -> str:
    return f"{n:g}" if isinstance(n, float) else str(n)


def _plain(value) -> str:
    return str(value).replace(" ", "")


def format_plan(plan: Plan) -> str:
    """Every step with its place among the threads, or how many dispatches it is, its kernel, and
    where its buffers lie."""
    names = ValueNames()
    parts = f"{sum(s.barrier_before for s in plan.steps)} barriers" if plan.dispatches is None else \
        _dispatches(plan, ())
    lines = [f"inputs {', '.join(map(names.typed, plan.inputs))}",
             f"arena {plan.arena_size} bytes, {plan.peak_live_bytes} in use at once, "
             f"{len(plan.steps)} kernels, {parts}, {_amounts(*(s.kernel for s in plan.steps))}"]
    lines += _steps_text(plan.steps, names, plan)
    lines.append(f"outputs {', '.join(map(names.of, plan.outputs))}")
    lines += [f"output {i} over input {j}" for i, j in plan.input_output_aliases.items()]
    return "\n".join(lines)


def _steps_text(steps, names: ValueNames, plan: Plan, above: tuple[int, ...] = ()):
    for n, step in enumerate(steps):
        who = "all threads" if step.parallel else "one thread"
        if plan.dispatches is not None:
            who = _dispatches(plan, (*above, n))
        elif step.barrier_before:
            yield "  ---- barrier"
        yield f"  {n}: {who}, {_amounts(step.kernel)}: " + format_kernel(step.kernel, names, plan)
        yield from (f"    {line}" for each in _steps_text(step.body, names, plan, (*above, n))
                    for line in each.splitlines())


def _dispatches(plan: Plan, number: tuple[int, ...]) -> str:
    """How many those of that number are, and of all within."""
    assert plan.dispatches is not None, "a plan for a GPU"
    count = sum(n for each, n in plan.dispatches.items() if each[:len(number)] == number)
    return f"{count} dispatch{'' if count == 1 else 'es'}"


def _amounts(*kernels: Kernel) -> str:
    done, moved = sum(map(flops, kernels)), sum(map(bytes_moved, kernels))
    return f"{format_si(done, 'FLOP')}, {format_si(moved, 'B')}"


def label(kernel: Kernel) -> str:
    """A kernel in a few words: what it runs over, and the operations that it carries out."""
    names = list(dict.fromkeys(e.prim.name for e in kernel.eqns))
    if isinstance(kernel, ScanKernel):
        return f"repeat {kernel.count} times: {', '.join(names)}"
    if isinstance(kernel, KernelCall):
        numbers = ",".join(map(_number_text, kernel.params))
        after = kernel.epilogue
        return f"{kernel.kernel}({numbers})" + (f" then {label(after)}" if after else "")
    return f"loop {_plain(kernel.iteration_space)}: {', '.join(names)}"


def format_kernel(kernel: Kernel, names: ValueNames, plan: Plan) -> str:
    def where(atom) -> str:
        place = plan.buffer_locations.get(atom)                    # None: it is never in memory
        return f"{names.of(atom)}@{place.space}{place.offset}" if place else names.of(atom)

    if isinstance(kernel, ScanKernel):
        way = "back" if kernel.reverse else "on"
        lines = [f"repeat {kernel.count} times, {way}"]
        lines += [f"       carry {where(c.init)} as {where(c.input)}, then {where(c.output)}; "
                  f"to {where(c.final)} by {where(c.spare)}" for c in kernel.carries]
        lines += [f"       piece {where(p.element)} of {where(p.stacked)}" for p in kernel.pieces]
        return "\n".join(lines)
    if isinstance(kernel, KernelCall):
        numbers = ", ".join(map(_number_text, kernel.params))
        line = f"{', '.join(map(where, kernel.outs))} = {kernel.kernel}" \
               f"({', '.join(map(where, kernel.args))}; {numbers})"
        after = kernel.epilogue
        return f"{line}\n      then {_loop_text(after, where)}" if after else line
    return _loop_text(kernel, where)


def _loop_text(loop: LoopKernel, where) -> str:
    head = f"loop {_plain(loop.iteration_space)}" + (f" fold {_plain(loop.reduction_axes)}" if loop.reduction_axes else "")
    lines = [head]
    for i, (value, (stage, late)) in enumerate(zip(loop.values, loop.value_sites)):
        if i and stage > loop.value_sites[i - 1][0]:
            lines.append("      again over the row")
        lines.append(f"       {'  ' * late}v{i} = {_value_text(value, where)}")
    lines += [f"       {where(s.target)} = false unless v{s.value} is finite"
              if isinstance(s, FiniteCheckStore) else
              f"       {where(s.target)}{_view_text(s.view)} = v{s.value}" for s in loop.stores]
    return "\n".join(lines)


def _value_text(value, where) -> str:
    if isinstance(value, Load):
        return f"{where(value.source)}{_view_text(value.view)}"
    if isinstance(value, ScalarConstant):
        return _number_text(value.value)
    if isinstance(value, IndexValue):
        return f"index {_plain(value.strides)} + {value.offset}"
    if isinstance(value, ReduceOp):
        return f"fold {value.reduction.combiner} over v{value.arg}"
    args = " ".join(f"{name}=v{i}" for name, i in zip("xyz", value.args))
    made = f" as {value.dtype}" if "cast" in value.formula else ""
    return f"{value.formula} with {args}{made}"


def _view_text(view) -> str:
    return f"[{','.join(map(str, view.strides))}]" + (f"+{view.offset}" if view.offset else "")


# Here, as what is printed stands above what it prints: `print(f.plan)` shows the kernels.
Graph.__str__ = format_graph
Plan.__str__ = format_plan
