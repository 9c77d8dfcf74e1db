"""Insertion of finite checks: producers clear a flag if a value that they hold is not finite.

graph/finite_checks.py decides which tensors are checked, and why.
"""
from __future__ import annotations

from dataclasses import replace
from math import prod

from ...base import dtypes
from ...base.views import View
from ...ir import (Atom, FiniteCheckStore, Kernel, KernelCall, Load, LoopKernel, RowPass,
                   ScalarConstant, Store, TargetInfo, Var)
from ..context import PassContext
from ..graph.finite_checks import NAME
from ..lowering import Lowering


def insert_finite_checks(lowering: Lowering, context: PassContext) -> Lowering:
    """Replace each call of the finite check by checks in the kernels that produce its operands.

    A loop reads the operands whose producer cannot check them.
    """
    if not any(isinstance(k, KernelCall) and k.kernel == NAME for k in lowering.kernels):
        return lowering
    insertion = _Insertion(lowering, context.target)
    return replace(lowering, kernels=tuple(insertion.run()))


class _Insertion:
    def __init__(self, lowering: Lowering, target: TargetInfo):
        self.kernels: list[Kernel] = list(lowering.kernels)
        self.outputs, self.target = set(lowering.outputs), target
        self.producers: dict[Atom, list[int]] = {}
        for n, k in enumerate(self.kernels):
            for var in k.writes:
                self.producers.setdefault(var, []).append(n)
        self.computed = set(self.producers)          # before any flag is initialized

    def run(self) -> list[Kernel]:
        calls = [n for n, k in enumerate(self.kernels)
                 if isinstance(k, KernelCall) and k.kernel == NAME]
        loops = {n: self._check_operands(self.kernels[n]) for n in calls}
        initialized = self._initialize([self.kernels[n].outs[0] for n in calls],
                                       self.kernels[calls[0]].eqns)
        for n in reversed(calls):
            self.kernels[n:n + 1] = loops[n]
        first = self.kernels.index(initialized) if initialized in self.kernels else None
        if first is not None:
            self.kernels.pop(first)
        return [initialized, *self.kernels]

    def _check_operands(self, call: KernelCall) -> list[LoopKernel]:
        """Add checks to producers; returns loops over the operands that remain."""
        flag, rest = call.outs[0], []
        types = call.operand_dtypes or [a.spec.dtype for a in call.args]
        for atom, dtype in zip(call.args, types):
            producers = self.producers.get(atom, [])
            checking = None
            if len(producers) == 1 and dtype is atom.spec.dtype:
                checking = self._with_check(self.kernels[producers[0]], atom, flag)
            if checking is None:
                rest.append(Load(atom, View.of((atom.spec.count,)), dtype))
            else:
                self.kernels[producers[0]] = checking
        return self._check_loops(rest, call)

    def _initialize(self, flags: list[Var], eqns) -> LoopKernel:
        """A loop that sets all flags, with whatever else computes scalars from inputs alone."""
        loops = (k for k in self.kernels if isinstance(k, LoopKernel))
        early = next((k for k in loops if self._computes_scalars(k, len(flags))), None)
        loop = early or LoopKernel((1,), (), (RowPass(()),), (), eqns)
        if early is not None:
            position = self.kernels.index(early)
        row_pass, = loop.passes
        true = len(row_pass.elementwise)
        values = (*row_pass.elementwise, ScalarConstant(1, dtypes.bool_))
        stores = [Store(true, flag, View.of(loop.iteration_space)) for flag in flags]
        loop = replace(loop, passes=(RowPass(values),), stores=(*loop.stores, *stores))
        if early is not None:
            self.kernels[position] = loop
        return loop

    def _computes_scalars(self, k: LoopKernel, flags: int) -> bool:
        return (prod(k.iteration_space) == 1 and len(k.passes) == 1
                and not k.reduction_axes and self.computed.isdisjoint(k.reads)
                and self.outputs.isdisjoint(k.writes)
                and not any(isinstance(s, FiniteCheckStore) for s in k.stores)
                and len({*k.reads, *k.writes}) + flags <= self.target.max_buffers_per_kernel)

    def _with_check(self, k: Kernel, atom: Atom, flag: Var) -> Kernel | None:
        """The kernel that computes an atom, with a check of it; None if it can take none."""
        if len({*k.reads, *k.writes}) >= self.target.max_buffers_per_kernel:
            return None
        if isinstance(k, LoopKernel):
            value = _value_holding(k, atom)
            return None if value is None else _add_flag_store(k, value, flag)
        if not isinstance(k, KernelCall) or k.kernel not in self.target.kernels_with_epilogue:
            return None
        epilogue = k.epilogue
        if epilogue is None:
            shape = k.result_matrix_shape
            load = Load(atom, View.of(shape), atom.spec.dtype)
            epilogue = LoopKernel(shape, (), (RowPass((load,)),), (), k.eqns)
        value = _value_holding(epilogue, atom)
        if value is None:
            return None
        return replace(k, epilogue=_add_flag_store(epilogue, value, flag))

    def _check_loops(self, loads: list[Load], call: KernelCall) -> list[LoopKernel]:
        """Loops that check tensors, each over tensors of one size."""
        loops, most = [], self.target.max_buffers_per_kernel - 1
        by_count: dict[int, list[Load]] = {}
        for load in loads:
            by_count.setdefault(load.source.spec.count, []).append(load)
        for count, same in by_count.items():
            for n in range(0, len(same) if count else 0, most):
                some = tuple(same[n:n + most])
                checks = tuple(FiniteCheckStore(i, call.outs[0], View((count,), (0,)))
                               for i in range(len(some)))
                loops.append(LoopKernel((count,), (), (RowPass(some),), checks, call.eqns))
        return loops


def _value_holding(loop: LoopKernel, atom: Atom) -> int | None:
    """Return the position of a value with all elements of an atom: the value that the loop stores
    to it, or the load of a product's result, in its dtype or in float32."""
    stored = [s.value for s in loop.stores if s.target is atom]
    loaded = [i for i, v in enumerate(loop.values) if isinstance(v, Load) and v.source is atom
              and v.dtype in (atom.spec.dtype, dtypes.float32)]
    found = stored or loaded
    return found[0] if len(stored) < 2 and found else None


def _add_flag_store(loop: LoopKernel, value: int, flag: Var) -> LoopKernel:
    space = loop.reduced_space if loop.value_sites[value][1] else loop.iteration_space
    check = FiniteCheckStore(value, flag, View(space, (0,) * len(space)))
    return replace(loop, stores=(*loop.stores, check))
