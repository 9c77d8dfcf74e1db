"""Graphs within graphs: the body of a loop as an attribute of the equation that repeats it."""
from collections.abc import Iterator
from functools import cached_property

from .digest import digest
from .graph import Atom, Eqn, Graph, Var, as_tuple


class Subgraph:
    """A graph that is an attribute: equal to every other one of the same equations and outputs."""

    def __init__(self, graph: Graph):
        self.graph = graph

    @cached_property
    def digest(self) -> str:
        return digest(self.graph)

    @cached_property
    def equations_digest(self) -> str:
        """The digest of what is computed, whatever of it goes out."""
        return digest(Graph(self.graph.inputs, self.graph.eqns))

    def __eq__(self, other):
        return isinstance(other, Subgraph) and self.digest == other.digest

    def __hash__(self):
        return hash(self.digest)

    # As part of the digest of the graph around it.
    def __str__(self):
        return self.digest


def walk_equations(graph: Graph) -> Iterator[Eqn]:
    """The graph's equations, and behind each those of its body."""
    for e in graph.eqns:
        yield e
        for value in e.attrs.values():
            if isinstance(value, Subgraph):
                yield from walk_equations(value.graph)


def clone_graph(graph: Graph) -> Graph:
    """The same graph with variables of its own."""
    made = [v for e in graph.eqns for v in e.outs]
    new: dict[Atom, Var] = {v: Var(v.spec) for v in (*graph.inputs, *made)}
    eqns = [Eqn(e.prim, tuple(new.get(a, a) for a in e.args), e.attrs,
                tuple(new[v] for v in e.outs)) for e in graph.eqns]
    return Graph([new[v] for v in graph.inputs], eqns, [new.get(o, o) for o in graph.outputs],
                 graph.input_output_aliases)


def interpret(np, graph: Graph, inputs) -> list:
    """The graph's outputs as its primitives mean them: NumPy arrays from NumPy arrays.

    Of float16 a primitive means what it does of float32, and then its results rounded once."""
    values = dict(zip(graph.inputs, inputs))

    def value(atom: Atom):
        if isinstance(atom, Var):
            return values[atom]
        if atom.is_number:
            return np.asarray(atom.value, atom.spec.dtype.name)
        return np.frombuffer(atom.value, atom.spec.dtype.name).reshape(atom.spec.shape)

    for e in graph.eqns:
        outs = as_tuple(e.prim.reference_impl(np, *(_single(value(a)) for a in e.args), **e.attrs))
        for var, out in zip(e.outs, outs, strict=True):
            # A tensor of one number throughout may have come as that number.
            out = np.broadcast_to(out, var.spec.shape)
            values[var] = np.ascontiguousarray(out, var.spec.dtype.name).reshape(out.shape)
    return [value(o) for o in graph.outputs]


def _single(x):
    return x.astype("float32") if x.dtype.name == "float16" else x
