"""Def-use analysis and rewriting of graphs: producers, consumers, backward slices, substitution."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from .graph import Atom, Eqn, Graph, Var

Replacements = dict[Atom, Atom]


def producers(eqns: Iterable[Eqn]) -> dict[Atom, Eqn]:
    """Map each result to the equation that defines it."""
    return {out: e for e in eqns for out in e.outs}


def consumers(eqns: Iterable[Eqn]) -> dict[Atom, list[Eqn]]:
    """Map each operand to the equations that use it, once for each use, in order."""
    found: dict[Atom, list[Eqn]] = {}
    for e in eqns:
        for atom in e.args:
            found.setdefault(atom, []).append(e)
    return found


def backward_slice(eqns: Sequence[Eqn], roots: Iterable[Atom],
                   base: Callable[[Atom], Atom] | None = None) -> list[Eqn]:
    """Return the equations that `roots` depend on, in order.

    `base` maps an operand to the variable that it is a view of, where operands are views.
    """
    live, found = set(roots), []
    for e in reversed(eqns):
        if not live.isdisjoint(e.outs):
            live.update(e.args if base is None else map(base, e.args))
            found.append(e)
    return found[::-1]


def dependencies(eqns: Sequence[Eqn], roots: Iterable[Atom]) -> set[Atom]:
    """Return `roots` and all atoms that they depend on."""
    roots = set(roots)
    return roots.union(*(e.args for e in backward_slice(eqns, roots)))


def with_operands(e: Eqn, replacements: Mapping[Atom, Atom]) -> Eqn:
    """Return the equation with its operands replaced; the same object if none of them is."""
    if replacements.keys().isdisjoint(e.args):
        return e
    return replace(e, args=tuple(replacements.get(a, a) for a in e.args))


def with_equations(graph: Graph, eqns: list[Eqn],
                   replacements: Mapping[Atom, Atom] | None = None) -> Graph:
    """Return the graph with other equations, and its outputs replaced."""
    replacements = replacements or {}
    outputs = [replacements.get(o, o) for o in graph.outputs]
    return Graph(graph.inputs, eqns, outputs, graph.input_output_aliases)


def rewrite(graph: Graph, rule: Callable[[Eqn, Replacements], Iterable[Eqn]]) -> Graph:
    """Rewrite a graph equation by equation, in order.

    `rule(e, replacements)` returns the equations that take the place of `e`, whose operands are
    already replaced. It adds to `replacements` each result that later equations shall read as
    another atom.
    """
    replacements: Replacements = {}
    eqns: list[Eqn] = []
    for e in graph.eqns:
        eqns += rule(with_operands(e, replacements), replacements)
    return with_equations(graph, eqns, replacements)


def substitute(graph: Graph, replacements: Mapping[Atom, Atom]) -> Graph:
    """Return the graph with atoms replaced in all operands and outputs."""
    return with_equations(graph, [with_operands(e, replacements) for e in graph.eqns], replacements)


def defined_variables(graph: Graph) -> list[Var]:
    """List the inputs and then the results of all equations, in order."""
    return [*graph.inputs, *(v for e in graph.eqns for v in e.outs)]
