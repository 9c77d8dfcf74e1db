"""Subgraphs: a graph as an attribute of an equation, such as the body of a scan."""
from collections.abc import Iterator
from functools import cached_property

from .digest import digest
from .graph import Atom, Eqn, Graph, Var


class Subgraph:
    """A graph as an attribute value. Subgraphs are equal if their digests are equal."""

    def __init__(self, graph: Graph):
        self.graph = graph

    @cached_property
    def digest(self) -> str:
        return digest(self.graph)

    @cached_property
    def equations_digest(self) -> str:
        """The digest of inputs and equations without the outputs."""
        return digest(Graph(self.graph.inputs, self.graph.eqns))

    def __eq__(self, other):
        return isinstance(other, Subgraph) and self.digest == other.digest

    def __hash__(self):
        return hash(self.digest)

    # `digest` hashes an attribute by its string.
    def __str__(self):
        return self.digest


def walk_equations(graph: Graph) -> Iterator[Eqn]:
    """The equations of a graph, each followed by the equations of its subgraphs."""
    for e in graph.eqns:
        yield e
        for value in e.attrs.values():
            if isinstance(value, Subgraph):
                yield from walk_equations(value.graph)


def clone_graph(graph: Graph) -> Graph:
    """A copy of the graph with fresh variables."""
    results = [v for e in graph.eqns for v in e.outs]
    fresh: dict[Atom, Var] = {v: Var(v.spec) for v in (*graph.inputs, *results)}
    eqns = [Eqn(e.prim, tuple(fresh.get(a, a) for a in e.args), e.attrs,
                tuple(fresh[v] for v in e.outs)) for e in graph.eqns]
    return Graph([fresh[v] for v in graph.inputs], eqns, [fresh.get(o, o) for o in graph.outputs],
                 graph.input_output_aliases)
