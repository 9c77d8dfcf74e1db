"""Whether a value that is computed in two places has the same bits in both."""
from dataclasses import dataclass

from ..base.views import View
from ..ir import Apply, Atom, Load, Loop, Var

# A sum and a product that it adds become one instruction, rounded once, where one loop computes
# both. So a sum has the same bits in two places if in both what it adds is loaded, or in both is
# computed, or is no product. These formulas give none,
NO_PRODUCTS = frozenset({"x + y", "x - y", "-x", "abs(x)", "max(x, y)", "min(x, y)", "max(x, 0)",
                         "select(x, y, z)", "sqrt(x)"})
# and these add nothing to what they read; a difference stays one, but for a GPU's driver.
NO_SUMS = frozenset({"x * y", "x / y", "-x", "abs(x)", "max(x, y)", "min(x, y)", "max(x, 0)",
                     "x > y", "x >= y", "x < y", "x <= y", "x", "select(x, y, z)"})
DIFFERENCE = "x - y"
# What a last bit takes from one number to quite another.
JUMPS = ("==", "!=", "<", ">", "floor", "ceil", "round", "sign")


@dataclass
class Recipe:
    """How a reader computes the value at position `root` of a loop: the values at `computed` from
    `leaves`, which are what it loads and the view of it over the loop's space."""

    loop: Loop
    root: int
    computed: set[int]
    leaves: dict[int, tuple[Atom, View]]

    def applied(self) -> list[Apply]:
        values = map(self.loop.values.__getitem__, self.computed)
        return [v for v in values if isinstance(v, Apply)]


def same_bits(recipe: Recipe) -> bool:
    """Whether the reader gets what the loop has, on every backend whose sums are what they say: a
    sum that has a product at hand there has it at hand here."""
    for value in recipe.applied():
        if not any(_varies(recipe, a) for a in value.args):
            return False             # there it may be computed before a loop, and here in it
        if value.formula not in NO_SUMS and value.formula != DIFFERENCE \
                and any(a in recipe.leaves and is_product(recipe.loop, a) for a in value.args):
            return False
    # A stage of several may take a product from what an earlier one has kept, rounded.
    return not has_sums_of_products(recipe) or \
        len(recipe.loop.stages) == 1 and not any(map(_is_jump, recipe.applied()))


def _varies(recipe: Recipe, i: int) -> bool:
    """Whether a value is another one at every index."""
    if i in recipe.leaves:
        return recipe.leaves[i][1].contiguous
    return isinstance(recipe.loop.values[i], Apply)


def has_sums_of_products(recipe: Recipe) -> bool:
    """Whether a driver of a GPU may round somewhere once or twice, as it likes."""
    sums = [v for v in recipe.applied() if v.formula not in NO_SUMS]
    return any(a in recipe.computed and is_product(recipe.loop, a) for v in sums for a in v.args)


def is_product(loop: Loop, i: int) -> bool:
    """Whether a value may be what a multiplication gives."""
    value = loop.values[i]
    while isinstance(value, Apply) and value.formula in ("x", "cast(x)"):
        value = loop.values[value.args[0]]
    floating = isinstance(value, Apply) and value.dtype.kind == "f"
    return floating and value.formula not in NO_PRODUCTS


def jumps(loop: Loop, sources: set[Var]) -> bool:
    """Whether anything in a loop that depends on its loads of `sources` jumps."""
    found: set[int] = set()
    for i, value in enumerate(loop.values):
        if isinstance(value, Load) and value.source in sources:
            found.add(i)
        elif isinstance(value, Apply) and not found.isdisjoint(value.args):
            if _is_jump(value):
                return True
            found.add(i)
    return False


def _is_jump(value: Apply) -> bool:
    whole = value.formula == "cast(x)" and value.dtype.kind != "f"
    return whole or any(sign in value.formula for sign in JUMPS)
