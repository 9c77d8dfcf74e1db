"""Which values of a Loop each of its stages computes, and what of a row is kept between them.

A later stage needs values that an earlier one has had at the same index. Cheap ones it computes
again; the others the first stage to compute them keeps, in a row of the thread's scratch memory.
"""
from dataclasses import dataclass

from ...ir.kernel import ElementwiseOp, Load, LoopKernel, ScalarConstant, ReduceOp
from .expression_codegen import CompiledExpression, compile_expression

# Instructions that a value may take to be computed again: about what a store, a load and moving
# two pointers take. An estimate; exp, log and tanh stand far above it, x - mean far below.
MAX_RECOMPUTE_COST = 8


@dataclass(frozen=True)
class PassValues:
    """What a stage does with values of bodies: those it computes at every index and those it
    takes from the row that was kept, both in order, and those it computes and keeps. `weight` is
    how many instructions an index takes beside loads and stores, `memory` how many of those."""

    recomputed: tuple[int, ...]
    reloaded: tuple[int, ...]
    spilled: tuple[int, ...]
    weight: int
    memory: int


def assign_pass_values(loop: LoopKernel, relaxed: bool, keep: bool = True) -> list[PassValues]:
    """A share for each stage; without `keep` everything is computed again."""
    costly = _expensive(loop, relaxed) if keep else set()
    first: dict[int, int] = {}                       # value -> the stage that computes it first
    computes, takes = _sets(loop), _sets(loop)
    for n in range(len(loop.passes)):
        pending = _roots(loop, n)
        while pending:
            i = pending.pop()
            if loop.value_sites[i][1] or i in computes[n] or i in takes[n]:
                continue
            if first.setdefault(i, n) < n and i in costly:
                takes[n].add(i)
                continue
            computes[n].add(i)
            if isinstance(loop.values[i], ElementwiseOp):
                pending += loop.values[i].args
    taken = set().union(*takes)
    return [_share(loop, n, relaxed, computes[n], takes[n], {i for i in taken if first[i] == n})
            for n in range(len(loop.passes))]


def compiled_expression_of(loop: LoopKernel, value: ElementwiseOp, relaxed: bool) -> CompiledExpression:
    """A value's formula for the kinds of its arguments."""
    args = [loop.values[i] for i in value.args]
    kinds = "".join(arg.dtype.kind for arg in args)
    numbers = tuple(arg.value if isinstance(arg, ScalarConstant) else None for arg in args)
    return compile_expression(value.formula, kinds, value.dtype.kind, relaxed, numbers)


def _sets(loop: LoopKernel) -> list[set[int]]:
    return [set() for _ in loop.passes]


def _roots(loop: LoopKernel, n: int) -> list[int]:
    """The body values that stage n is there for: what it folds and what it stores."""
    folded = [v.arg for v in loop.passes[n].post_reduce if isinstance(v, ReduceOp)]
    return folded + [s.value for s in loop.stores if loop.value_sites[s.value] == (n, False)]


def _expensive(loop: LoopKernel, relaxed: bool) -> set[int]:
    """The values that are dearer to compute again than to keep."""
    price: list[int] = []
    for value, (_, late) in zip(loop.values, loop.value_sites):
        if isinstance(value, ElementwiseOp) and not late:
            args = sum(price[i] if price[i] <= MAX_RECOMPUTE_COST else 1 for i in value.args)
            price.append(len(compiled_expression_of(loop, value, relaxed).code) + args)
        else:
            price.append(0 if late or isinstance(value, ScalarConstant) else 1)
    return {i for i, n in enumerate(price) if n > MAX_RECOMPUTE_COST}


def _share(loop: LoopKernel, n: int, relaxed: bool, computes: set, takes: set, keeps: set) -> PassValues:
    values = [loop.values[i] for i in computes]
    weight = sum(len(compiled_expression_of(loop, v, relaxed).code) for v in values if isinstance(v, ElementwiseOp))
    memory = sum(isinstance(v, Load) for v in values) + len(takes) + len(keeps)
    memory += sum(loop.value_sites[s.value] == (n, False) for s in loop.stores)
    return PassValues(tuple(sorted(computes)), tuple(sorted(takes)), tuple(sorted(keeps)), weight,
                 memory)
