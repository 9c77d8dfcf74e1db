"""Pass values: which values each pass of a LoopKernel recomputes, reloads and spills.

A later pass may need per-element values of an earlier one. It recomputes cheap ones; the first pass
that computes an expensive one spills it to a row cache in the thread's scratch memory.
"""
from dataclasses import dataclass

from ...ir.kernels import ElementwiseOp, Load, LoopKernel, ReduceOp, ScalarConstant
from .expression_codegen import CompiledExpression, compile_expression

# Instructions that a value may cost to be recomputed: about a store, a load and two pointer
# increments. A heuristic; exp, log and tanh cost far more, x - mean far less.
MAX_RECOMPUTE_COST = 8


@dataclass(frozen=True)
class PassValues:
    """The per-element values of a pass, each tuple in order: `recomputed` at every index,
    `reloaded` from the row cache, and `spilled` to it after they are computed. `weight` is the
    instructions per index except loads and stores, `memory` the number of loads and stores."""

    recomputed: tuple[int, ...]
    reloaded: tuple[int, ...]
    spilled: tuple[int, ...]
    weight: int
    memory: int


def assign_pass_values(loop: LoopKernel, relaxed: bool, keep: bool = True) -> list[PassValues]:
    """Return the values of each pass; without `keep` nothing is spilled."""
    expensive = _expensive(loop, relaxed) if keep else set()
    first_pass: dict[int, int] = {}                  # value -> the first pass that computes it
    recomputed: list[set[int]] = [set() for _ in loop.passes]
    reloaded: list[set[int]] = [set() for _ in loop.passes]
    for n in range(len(loop.passes)):
        pending = _roots(loop, n)
        while pending:
            i = pending.pop()
            if loop.value_sites[i][1] or i in recomputed[n] or i in reloaded[n]:
                continue
            if first_pass.setdefault(i, n) < n and i in expensive:
                reloaded[n].add(i)
                continue
            recomputed[n].add(i)
            if isinstance(loop.values[i], ElementwiseOp):
                pending += loop.values[i].args
    spilled = set().union(*reloaded)
    return [_pass_values(loop, n, relaxed, recomputed[n], reloaded[n],
                         {i for i in spilled if first_pass[i] == n})
            for n in range(len(loop.passes))]


def compiled_expression_of(
    loop: LoopKernel, value: ElementwiseOp, relaxed: bool
) -> CompiledExpression:
    """Compile a value's scalar expression for the kinds and constants of its arguments."""
    args = [loop.values[i] for i in value.args]
    kinds = "".join(arg.dtype.kind for arg in args)
    constants = tuple(arg.value if isinstance(arg, ScalarConstant) else None for arg in args)
    return compile_expression(value.expression, kinds, value.dtype.kind, relaxed, constants)


def _roots(loop: LoopKernel, n: int) -> list[int]:
    """Return the per-element values that pass n reduces or stores."""
    reduced = [v.arg for v in loop.passes[n].post_reduce if isinstance(v, ReduceOp)]
    return reduced + [s.value for s in loop.stores if loop.value_sites[s.value] == (n, False)]


def _expensive(loop: LoopKernel, relaxed: bool) -> set[int]:
    """Return the values that cost more to recompute than to spill and reload."""
    costs: list[int] = []
    for value, (_, post_reduce) in zip(loop.values, loop.value_sites):
        if isinstance(value, ElementwiseOp) and not post_reduce:
            args = sum(costs[i] if costs[i] <= MAX_RECOMPUTE_COST else 1 for i in value.args)
            costs.append(len(compiled_expression_of(loop, value, relaxed).code) + args)
        else:
            costs.append(0 if post_reduce or isinstance(value, ScalarConstant) else 1)
    return {i for i, n in enumerate(costs) if n > MAX_RECOMPUTE_COST}


def _pass_values(loop: LoopKernel, n: int, relaxed: bool, recomputed: set[int],
                 reloaded: set[int], spilled: set[int]) -> PassValues:
    values = [loop.values[i] for i in recomputed]
    weight = sum(len(compiled_expression_of(loop, v, relaxed).code)
                 for v in values if isinstance(v, ElementwiseOp))
    memory = sum(isinstance(v, Load) for v in values) + len(reloaded) + len(spilled)
    memory += sum(loop.value_sites[s.value] == (n, False) for s in loop.stores)
    return PassValues(tuple(sorted(recomputed)), tuple(sorted(reloaded)), tuple(sorted(spilled)),
                      weight, memory)
