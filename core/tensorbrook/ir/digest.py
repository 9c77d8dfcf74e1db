"""What a graph is, in 32 bytes: the same for every graph that computes the same equations.

Two graphs with one digest become one program, so a program that was compiled once, in another
session or on another page, can be found by what it computes.
"""
from hashlib import sha256

from .graph import Atom, Const, Graph


def digest(graph: Graph) -> str:
    """SHA-256 in hexadecimal of the inputs, the equations in order, and what leaves the graph."""
    numbers: dict[Atom, int] = {v: n for n, v in enumerate(graph.inputs)}
    lines: list = [[str(v.spec) for v in graph.inputs]]
    for e in graph.eqns:
        args = [_atom(a, numbers) for a in e.args]
        attrs = [(name, str(value)) for name, value in e.attrs.items()]
        lines.append((e.prim.name, args, attrs, [str(out.spec) for out in e.outs]))
        numbers |= {out: len(numbers) + i for i, out in enumerate(e.outs)}
    lines.append(([_atom(o, numbers) for o in graph.outputs], list(graph.input_output_aliases.items())))
    return sha256(repr(lines).encode()).hexdigest()


def _atom(atom: Atom, numbers) -> object:
    if not isinstance(atom, Const):
        return numbers[atom]
    value = repr(atom.value) if atom.is_number else sha256(atom.value).hexdigest()
    return str(atom.spec), value
