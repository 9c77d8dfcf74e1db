"""Whether all numbers are finite, asked in the kernels that make them: a flag that each may lower.

A step of training in mixed precision changes nothing unless all gradients are finite. To read them
all for that, and again for the update, costs more than float16 saves, and the update could no
longer follow the product that makes a gradient. But a product of float16 in float32 is finite just
where both of its sides are: float32 holds the sum of 10^28 products of float16, and an infinity or
a NaN on one side shows in each product it takes part in. So the sides are asked for, which are
there before any product of a weight's gradient; and whoever makes them has them in registers.
"""
from dataclasses import replace
from math import prod

from ..base import dtypes
from ..base.views import View
from ..ir import (Atom, KernelCall, Const, Eqn, Graph, Kernel, TargetInfo, Load, LoopKernel, FiniteCheckStore, ScalarConstant, Primitive,
                  TensorSpec, RowPass, Store, Var)

NAME = "all_finite"
TRUTH = TensorSpec((), dtypes.bool_)
ALL_FINITE = Primitive(
    NAME, "kernel", lambda *given: TRUTH, None,
    lambda np, *xs: np.all([np.isfinite(x).all() for x in xs]),
    kernel_call=lambda given, out: (NAME, (), sum(each.count for each in given)))


# ── in a graph: who must be finite ────────────────────────────────────────────────────────────


def move_finite_checks_to_producers(graph: Graph, target: TargetInfo) -> Graph:
    """The graph with one equation for each truth that tensors are all finite, of those that decide
    it; where a backend does that."""
    if NAME not in target.kernels_casting_operands:
        return graph
    asked = _FiniteChecks(graph)
    eqns = []
    for e in graph.eqns:
        found = asked.roots.get(e.outs[0])
        if found:
            deciding = dict.fromkeys(d for a in found for d in asked.sufficient_operands(a))
            e = Eqn(ALL_FINITE, tuple(deciding), {}, e.outs)
        eqns.append(e)
    return Graph(graph.inputs, eqns, graph.outputs, graph.input_output_aliases)


class _FiniteChecks:
    def __init__(self, graph: Graph):
        self.makers = {out: e for e in graph.eqns for out in e.outs}
        self.read_by_calls: set[Atom] = set()
        # Truths that all of some tensors are finite; `roots` are those that do not just go on into
        # another one.
        self.checked: dict[Var, list[Atom]] = {}
        inner, read = set(), set(graph.outputs)
        for e in graph.eqns:
            found = self.checked_operands(e)
            if e.prim.kind == "kernel":
                self.read_by_calls.update(map(self.through_casts, e.args))
            if found is None:
                read.update(e.args)
            else:
                self.checked[e.out] = found
                inner.update(e.args)
        self.roots = {v: found for v, found in self.checked.items()
                      if found and (v in read or v not in inner)}

    def producer_if(self, atom: Atom, *names: str) -> Eqn | None:
        """The equation that makes it, if that is one of these."""
        e = self.makers.get(atom)
        return e if e is not None and e.prim.name in names else None

    def checked_operands(self, e: Eqn) -> list[Atom] | None:
        """The tensors of which an equation's result says that they are finite."""
        if e.prim.name == "bitwise_and" and e.out.spec == TRUTH:
            x, y = map(self.known_checked, e.args)
            return None if x is None or y is None else x + y
        if e.prim.name != "greater" or e.out.spec != TRUTH or not _is(e.args[1], 0):
            return None
        fold = self.producer_if(e.args[0], "reduce_min")        # there is none of a single number
        ones = self.producer_if(fold.args[0] if fold else e.args[0], "cast")
        each = ones and self.producer_if(ones.args[0], "is_finite")
        return [each.args[0]] if each else None

    def known_checked(self, atom: Atom) -> list[Atom] | None:
        return [] if _is(atom, True) else self.checked.get(atom)

    def through_casts(self, atom: Atom) -> Atom:
        """Whose elements these are, of whatever float and shape."""
        e = self.producer_if(atom, "reshape", "cast", "transpose")
        if e is None or not all(a.spec.dtype.is_floating for a in (*e.args, *e.outs)):
            return atom
        return self.through_casts(e.args[0])

    def sufficient_operands(self, atom: Atom) -> list[Atom]:
        """The tensors that are all finite just where this one is."""
        e = self.producer_if(atom, "reshape", "transpose", "matmul", "conv2d_filter_grad", "reduce_sum",
                      "cast")
        if e is None or not atom.spec.count or atom.spec.dtype is not dtypes.float32:
            return [atom]
        if e.prim.name in ("reshape", "transpose"):
            return self.sufficient_operands(e.args[0])
        halves = [half for half in map(self.float16_source, e.args) if half is not None]
        if len(halves) < len(e.args) or prod(a.spec.count for a in e.args) == 0:
            return [atom]
        if e.prim.name == "conv2d_filter_grad" and not _every_pixel_contributes(e):
            return [atom]
        # Of a sum, what is in memory anyway: a kernel reads it.
        there = e.prim.name != "reduce_sum" or self.through_casts(halves[0]) in self.read_by_calls
        return halves if there else [atom]

    def float16_source(self, atom: Atom) -> Atom | None:
        """The float16 that this is, in another float or shape."""
        if atom.spec.dtype is dtypes.float16:
            return atom
        e = self.producer_if(atom, "reshape", "transpose", "cast")
        return self.float16_source(e.args[0]) if e and e.args[0].spec.dtype.is_floating else None


def _every_pixel_contributes(e: Eqn) -> bool:
    """Whether every pixel of an image takes part in the gradient of a filter, and every gradient of
    a pixel: not where steps leave some out, nor where a window may lie beside the image."""
    given = [a.spec for a in e.args]
    _, h, w, _, kh, kw, _, oh, ow, *steps, top, left, _ = e.prim.kernel_call(
        given, e.out.spec, **e.attrs)[1]
    below, right = oh - 1 + kh - h - top, ow - 1 + kw - w - left
    return steps == [1, 1, 1, 1] and all(0 <= pad < k for pad, k in (
        (top, kh), (below, kh), (left, kw), (right, kw)))


def _is(atom: Atom, number) -> bool:
    return isinstance(atom, Const) and atom.is_scalar and atom.value == number


# ── among kernels: who asks ───────────────────────────────────────────────────────────────────


def insert_finite_checks(kernels: list[Kernel], outputs: list[Var], target: TargetInfo) -> list[Kernel]:
    """The kernels with marks in those that make what must be finite. What none of them can ask
    for, a loop reads."""
    for k in [k for k in kernels if isinstance(k, KernelCall) and k.kernel == NAME]:
        at, flag, rest = kernels.index(k), k.outs[0], []
        kernels = list(kernels)
        for atom, dtype in zip(k.args, k.operand_dtypes or [a.spec.dtype for a in k.args]):
            makers = [n for n, other in enumerate(kernels) if atom in other.writes]
            asking = _with_check(kernels[makers[0]], atom, flag, target) \
                if len(makers) == 1 and dtype is atom.spec.dtype else None
            if asking is None:
                rest.append(Load(atom, View.of((atom.spec.count,)), dtype))
            else:
                kernels[makers[0]] = asking
        kernels[at:at + 1] = _check_loops(rest, k, target)
        kernels = _initialize_flag(k, kernels, outputs, target)
    return kernels


def _initialize_flag(k: KernelCall, kernels: list[Kernel], outputs: list[Var], target: TargetInfo) -> list[Kernel]:
    """The kernels with one at the beginning that raises the flag: if there is one that makes single
    numbers of what comes in, it does so too."""
    made = {v for other in kernels for v in other.writes}
    early = [n for n, loop in enumerate(kernels)
             if isinstance(loop, LoopKernel) and prod(loop.iteration_space) == 1 and len(loop.passes) == 1
             and not loop.reduction_axes and made.isdisjoint(loop.reads)
             and not {*outputs, *k.outs} & {*loop.writes}
             and not any(isinstance(s, FiniteCheckStore) for s in loop.stores)
             and len({*loop.reads, *loop.writes}) < target.max_buffers_per_kernel]
    if not early:
        return [_with_flag_init(LoopKernel((1,), (), (RowPass(()),), (), k.eqns), k.outs[0]), *kernels]
    first = kernels.pop(early[0])
    return [_with_flag_init(first, k.outs[0]), *kernels]


def _with_flag_init(loop: LoopKernel, flag: Var) -> LoopKernel:
    stage, = loop.passes
    stored = Store(len(stage.elementwise), flag, View.of(loop.iteration_space))
    body = (*stage.elementwise, ScalarConstant(1, dtypes.bool_))
    return replace(loop, passes=(RowPass(body),), stores=(*loop.stores, stored))


def _with_check(k: Kernel, atom: Atom, flag: Var, target: TargetInfo) -> Kernel | None:
    """The kernel that makes an atom, with a mark for it; None if it takes none."""
    if len({*k.reads, *k.writes}) >= target.max_buffers_per_kernel:
        return None
    if isinstance(k, LoopKernel):
        value = _value_holding(k, atom)
        return None if value is None else _add_flag_store(k, value, flag)
    if not isinstance(k, KernelCall) or k.kernel not in target.kernels_with_epilogue:
        return None
    after = k.epilogue
    if after is None:
        load = Load(atom, View.of(k.result_matrix_shape), atom.spec.dtype)
        after = LoopKernel(k.result_matrix_shape, (), (RowPass((load,)),), (), k.eqns)
    value = _value_holding(after, atom)
    return None if value is None else replace(k, epilogue=_add_flag_store(after, value, flag))


def _value_holding(loop: LoopKernel, atom: Atom) -> int | None:
    """The value of a loop that is all of an atom: what is stored there, or what a product gave, as
    it is or as the float32 that it is just as well."""
    stored = [s.value for s in loop.stores if s.target is atom]
    given = [i for i, v in enumerate(loop.values) if isinstance(v, Load) and v.source is atom
             and v.dtype in (atom.spec.dtype, dtypes.float32)]
    found = stored or given
    return found[0] if len(stored) < 2 and found else None


def _add_flag_store(loop: LoopKernel, value: int, flag: Var) -> LoopKernel:
    space = loop.reduced_space if loop.value_sites[value][1] else loop.iteration_space
    mark = FiniteCheckStore(value, flag, View(space, (0,) * len(space)))
    return replace(loop, stores=(*loop.stores, mark))


def _check_loops(loads: list[Load], k: KernelCall, target: TargetInfo) -> list[LoopKernel]:
    """Loops over tensors of one size each."""
    found, most = [], target.max_buffers_per_kernel - 1
    for count in dict.fromkeys(load.source.spec.count for load in loads):
        alike = [load for load in loads if load.source.spec.count == count]
        for n in range(0, len(alike) if count else 0, most):
            some = tuple(alike[n:n + most])
            marks = tuple(FiniteCheckStore(i, k.outs[0], View((count,), (0,))) for i in range(len(some)))
            found.append(LoopKernel((count,), (), (RowPass(some),), marks, k.eqns))
    return found
