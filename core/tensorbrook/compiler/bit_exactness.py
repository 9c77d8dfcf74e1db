"""Whether a value that is computed in two places has the same bits in both."""
from dataclasses import dataclass

from ..base.views import View
from ..ir import ElementwiseOp, Atom, Load, LoopKernel, Var

# A sum and a product that it adds become one instruction, rounded once, where one loop computes
# both. So a sum has the same bits in two places if in both what it adds is loaded, or in both is
# computed, or is no product. These formulas give none,
NEVER_PRODUCTS = frozenset({"x + y", "x - y", "-x", "abs(x)", "max(x, y)", "min(x, y)", "max(x, 0)",
                         "select(x, y, z)", "sqrt(x)"})
# and these add nothing to what they read; a difference stays one, but for a GPU's driver.
NEVER_FMA_SUMS = frozenset({"x * y", "x / y", "-x", "abs(x)", "max(x, y)", "min(x, y)", "max(x, 0)",
                     "x > y", "x >= y", "x < y", "x <= y", "x", "select(x, y, z)"})
DIFFERENCE = "x - y"
# What a last bit takes from one number to quite another.
DISCONTINUOUS = ("==", "!=", "<", ">", "floor", "ceil", "round", "sign")


@dataclass
class RecomputeExpression:
    """How a reader computes the value at position `root` of a loop: the values at `computed` from
    `leaves`, which are what it loads and the view of it over the loop's space."""

    loop: LoopKernel
    root: int
    recomputed: set[int]
    loads: dict[int, tuple[Atom, View]]

    def ops(self) -> list[ElementwiseOp]:
        values = map(self.loop.values.__getitem__, self.recomputed)
        return [v for v in values if isinstance(v, ElementwiseOp)]


def is_bit_exact(recipe: RecomputeExpression) -> bool:
    """Whether the reader gets what the loop has, on every backend whose sums are what they say: a
    sum that has a product at hand there has it at hand here."""
    for value in recipe.ops():
        if not any(_is_varying(recipe, a) for a in value.args):
            return False             # there it may be computed before a loop, and here in it
        if value.expression not in NEVER_FMA_SUMS and value.expression != DIFFERENCE \
                and any(a in recipe.loads and may_be_product(recipe.loop, a) for a in value.args):
            return False
    # A stage of several may take a product from what an earlier one has kept, rounded.
    return not may_contract_to_fma(recipe) or \
        len(recipe.loop.passes) == 1 and not any(map(_is_jump, recipe.ops()))


def _is_varying(recipe: RecomputeExpression, i: int) -> bool:
    """Whether a value is another one at every index."""
    if i in recipe.loads:
        return recipe.loads[i][1].contiguous
    return isinstance(recipe.loop.values[i], ElementwiseOp)


def may_contract_to_fma(recipe: RecomputeExpression) -> bool:
    """Whether a driver of a GPU may round somewhere once or twice, as it likes."""
    sums = [v for v in recipe.ops() if v.expression not in NEVER_FMA_SUMS]
    return any(a in recipe.recomputed and may_be_product(recipe.loop, a) for v in sums for a in v.args)


def may_be_product(loop: LoopKernel, i: int) -> bool:
    """Whether a value may be what a multiplication gives."""
    value = loop.values[i]
    while isinstance(value, ElementwiseOp) and value.expression in ("x", "cast(x)"):
        value = loop.values[value.args[0]]
    floating = isinstance(value, ElementwiseOp) and value.dtype.kind == "f"
    return floating and value.expression not in NEVER_PRODUCTS


def feeds_discontinuity(loop: LoopKernel, sources: set[Var]) -> bool:
    """Whether anything in a loop that depends on its loads of `sources` jumps."""
    found: set[int] = set()
    for i, value in enumerate(loop.values):
        if isinstance(value, Load) and value.source in sources:
            found.add(i)
        elif isinstance(value, ElementwiseOp) and not found.isdisjoint(value.args):
            if _is_jump(value):
                return True
            found.add(i)
    return False


def _is_jump(value: ElementwiseOp) -> bool:
    whole = value.expression == "cast(x)" and value.dtype.kind != "f"
    return whole or any(sign in value.expression for sign in DISCONTINUOUS)
