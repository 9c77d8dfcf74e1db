"""Graph digest: a content hash, equal for graphs that differ only in the identity of variables.

The program caches use the digest as key, so a program that was compiled in an earlier session is
found again.
"""
from hashlib import sha256

from .graph import Atom, Const, Graph


def digest(graph: Graph) -> str:
    """SHA-256, in hexadecimal, of the inputs, the equations in order, outputs and aliases."""
    indices: dict[Atom, int] = {v: i for i, v in enumerate(graph.inputs)}
    lines: list = [[str(v.spec) for v in graph.inputs]]
    for e in graph.eqns:
        args = [_atom(a, indices) for a in e.args]
        attrs = [(name, str(value)) for name, value in e.attrs.items()]
        lines.append((e.prim.name, args, attrs, [str(out.spec) for out in e.outs],
                      [dtype.name for dtype in e.operand_dtypes]))
        indices |= {out: len(indices) + i for i, out in enumerate(e.outs)}
    outputs = [_atom(o, indices) for o in graph.outputs]
    lines.append((outputs, list(graph.input_output_aliases.items())))
    return sha256(repr(lines).encode()).hexdigest()


def _atom(atom: Atom, indices) -> object:
    if not isinstance(atom, Const):
        return indices[atom]
    value = repr(atom.value) if atom.is_scalar else sha256(atom.value).hexdigest()
    return str(atom.spec), value
