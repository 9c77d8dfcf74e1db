"""Printer: graphs and plans as stable text, for users and golden tests."""
from collections.abc import Mapping

from .graph import Atom, Const, Graph, Var
from .kernel_stats import bytes_moved, flops, format_si
from .kernels import (FiniteCheckStore, IndexValue, Kernel, KernelCall, Load, LoopKernel, ReduceOp,
                      ScalarConstant, ScanKernel)
from .plan import BufferLocation, Plan
from .subgraph import Subgraph


class ValueNames:
    """Names of variables, in the order of first use: %0, %1, ..."""

    def __init__(self):
        self._names: dict[Var, str] = {}

    def of(self, atom) -> str:
        if isinstance(atom, Const):
            return _scalar_text(atom.value) if atom.is_scalar else f"constant {atom.spec}"
        return self._names.setdefault(atom, f"%{len(self._names)}")

    def typed(self, atom) -> str:
        return f"{self.of(atom)}: {atom.spec}"


def format_graph(graph: Graph) -> str:
    """The graph as text; subgraphs are indented below their equation."""
    names = ValueNames()
    lines = [f"inputs {', '.join(map(names.typed, graph.inputs))}"]
    for e in graph.eqns:
        bodies = [value.graph for value in e.attrs.values() if isinstance(value, Subgraph)]
        attrs = "".join(f" {key}={_without_spaces(value)}" for key, value in e.attrs.items()
                        if not isinstance(value, Subgraph))
        args = ", ".join(map(names.of, e.args))
        outs = ", ".join(map(names.typed, e.outs))
        lines.append(f"  {outs} = {e.prim.name}({args}){attrs}")
        lines += [f"    {line}" for body in bodies for line in format_graph(body).splitlines()]
    lines.append(f"outputs {', '.join(map(names.of, graph.outputs))}")
    lines += [f"update input {j} with output {i}" for i, j in graph.input_output_aliases.items()]
    return "\n".join(lines)


def _scalar_text(x) -> str:
    return f"{x:g}" if isinstance(x, float) else str(x)


def _without_spaces(value) -> str:
    return str(value).replace(" ", "")


def format_plan(plan: Plan) -> str:
    """The plan as text: each kernel with its threads or dispatches, statistics and buffers."""
    names = ValueNames()
    synchronization = _dispatch_count(plan, ()) if plan.dispatches is not None else \
        f"{sum(s.barrier_before for s in plan.steps)} barriers"
    lines = [f"inputs {', '.join(map(names.typed, plan.inputs))}",
             f"arena {plan.arena_size} bytes, {plan.peak_live_bytes} live at peak, "
             f"{len(plan.steps)} kernels, {synchronization}, "
             f"{_statistics(*(s.kernel for s in plan.steps))}"]
    lines += _step_lines(plan.steps, names, plan)
    lines.append(f"outputs {', '.join(map(names.of, plan.outputs))}")
    lines += [f"output {i} aliases input {j}" for i, j in plan.input_output_aliases.items()]
    return "\n".join(lines)


def _step_lines(steps, names: ValueNames, plan: Plan, parents: tuple[int, ...] = ()):
    for n, step in enumerate(steps):
        execution = "all threads" if step.parallel else "one thread"
        if plan.dispatches is not None:
            execution = _dispatch_count(plan, (*parents, n))
        elif step.barrier_before:
            yield "  ---- barrier"
        kernel = format_kernel(step.kernel, names, plan.buffer_locations)
        yield f"  {n}: {execution}, {_statistics(step.kernel)}: {kernel}"
        for text in _step_lines(step.body, names, plan, (*parents, n)):
            yield from (f"    {line}" for line in text.splitlines())


def _dispatch_count(plan: Plan, index: tuple[int, ...]) -> str:
    """The number of dispatches of the kernel at an index, including those of its body."""
    assert plan.dispatches is not None, "a plan for a GPU"
    count = sum(n for each, n in plan.dispatches.items() if each[:len(index)] == index)
    return f"{count} dispatch{'' if count == 1 else 'es'}"


def _statistics(*kernels: Kernel) -> str:
    total_flops, total_bytes = sum(map(flops, kernels)), sum(map(bytes_moved, kernels))
    return f"{format_si(total_flops, 'FLOP')}, {format_si(total_bytes, 'B')}"


def label(kernel: Kernel) -> str:
    """A short description: the library kernel or the iteration space, and the primitives."""
    primitives = list(dict.fromkeys(e.prim.name for e in kernel.eqns))
    if isinstance(kernel, ScanKernel):
        return f"scan of {kernel.count} iterations: {', '.join(primitives)}"
    if isinstance(kernel, KernelCall):
        params = ",".join(map(_scalar_text, kernel.params))
        epilogue = f" then {label(kernel.epilogue)}" if kernel.epilogue else ""
        return f"{kernel.kernel}({params}){epilogue}"
    return f"loop {_without_spaces(kernel.iteration_space)}: {', '.join(primitives)}"


def format_kernel(kernel: Kernel, names: ValueNames,
                  locations: Mapping[Atom, BufferLocation]) -> str:
    """The kernel as text; each buffer is followed by its location, such as `%3@arena64`."""
    def located(atom) -> str:
        location = locations.get(atom)             # None: not materialized
        suffix = f"@{location.space}{location.offset}" if location else ""
        return f"{names.of(atom)}{suffix}"

    if isinstance(kernel, ScanKernel):
        return _scan_text(kernel, located)
    if isinstance(kernel, KernelCall):
        params = ", ".join(map(_scalar_text, kernel.params))
        line = f"{', '.join(map(located, kernel.outs))} = {kernel.kernel}" \
               f"({', '.join(map(located, kernel.args))}; {params})"
        return f"{line}\n      then {_loop_text(kernel.epilogue, located)}" if kernel.epilogue \
            else line
    return _loop_text(kernel, located)


def _scan_text(scan: ScanKernel, located) -> str:
    lines = [f"scan of {scan.count} iterations" + (", reversed" if scan.reverse else "")]
    lines += [f"       carry {located(c.init)} as {located(c.input)}, then {located(c.output)}; "
              f"final {located(c.final)}, spare {located(c.spare)}" for c in scan.carries]
    lines += [f"       slice {located(s.element)} of {located(s.stacked)}" for s in scan.slices]
    return "\n".join(lines)


def _loop_text(loop: LoopKernel, located) -> str:
    axes = f" reduce {_without_spaces(loop.reduction_axes)}" if loop.reduction_axes else ""
    lines = [f"loop {_without_spaces(loop.iteration_space)}{axes}"]
    for i, (value, (pass_index, post_reduce)) in enumerate(zip(loop.values, loop.value_sites)):
        if i and pass_index > loop.value_sites[i - 1][0]:
            lines.append(f"      pass {pass_index}")
        lines.append(f"       {'  ' * post_reduce}v{i} = {_value_text(value, located)}")
    lines += [f"       {located(s.target)} = false unless v{s.value} is finite"
              if isinstance(s, FiniteCheckStore) else
              f"       {located(s.target)}{_view_text(s.view)} = v{s.value}" for s in loop.stores]
    return "\n".join(lines)


def _value_text(value, located) -> str:
    if isinstance(value, Load):
        return f"{located(value.source)}{_view_text(value.view)}"
    if isinstance(value, ScalarConstant):
        return _scalar_text(value.value)
    if isinstance(value, IndexValue):
        return f"index {_without_spaces(value.strides)} + {value.offset}"
    if isinstance(value, ReduceOp):
        return f"reduce v{value.arg} with {value.reduction.combiner}"
    args = " ".join(f"{name}=v{i}" for name, i in zip("xyz", value.args))
    dtype = f" as {value.dtype}" if value.expression.is_cast else ""
    return f"{value.expression} with {args}{dtype}"


def _view_text(view) -> str:
    return f"[{','.join(map(str, view.strides))}]" + (f"+{view.offset}" if view.offset else "")


# Assigned here because graph.py and plan.py cannot import this module.
Graph.__str__ = format_graph
Plan.__str__ = format_plan
