"""Common subexpression elimination: equations that compute the same values become one."""
from ...ir import Atom, Const, Eqn, Graph
from ...ir.analysis import Replacements, rewrite
from ...base.value_keys import attributes_key, value_key
from ..context import PassContext


def eliminate_common_subexpressions(graph: Graph, context: PassContext) -> Graph:
    """Replace an equation by an earlier one of the same primitive, operands and attributes."""
    first: dict[tuple, tuple] = {}

    def share(e: Eqn, replacements: Replacements) -> list[Eqn]:
        context.counts["common subexpressions"] += 1
        # The result's spec is part of the key: scalar operands do not determine its shape.
        key = (e.prim.name, tuple(o.spec for o in e.outs), tuple(map(_operand_key, e.args)),
               attributes_key(e.attrs))
        outs = first.setdefault(key, e.outs)
        if outs is e.outs:
            return [e]
        replacements.update(zip(e.outs, outs))
        return []

    return rewrite(graph, share)


def _operand_key(atom: Atom) -> object:
    """Equal for the same variable, and for scalar constants of the same bits."""
    if isinstance(atom, Const) and atom.is_scalar:
        return atom.spec, value_key(atom.value)
    return id(atom)
