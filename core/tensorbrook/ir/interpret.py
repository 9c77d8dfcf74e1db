"""Reference interpreter: evaluates a graph with the NumPy implementations of its primitives."""
from .graph import Atom, Graph, Var, as_tuple


def interpret(np, graph: Graph, inputs) -> list:
    """The outputs of `graph` as NumPy arrays; `np` is the numpy module, `inputs` are NumPy arrays.

    An operation on float16 computes in float32 and rounds its results once.
    """
    values = dict(zip(graph.inputs, inputs))

    def value(atom: Atom):
        if isinstance(atom, Var):
            return values[atom]
        if atom.is_scalar:
            return np.asarray(atom.value, atom.spec.dtype.name)
        return np.frombuffer(atom.value, atom.spec.dtype.name).reshape(atom.spec.shape)

    for e in graph.eqns:
        args = [_to_float32(value(a)) for a in e.args]
        outs = as_tuple(e.prim.reference_impl(np, *args, **e.attrs))
        for var, out in zip(e.outs, outs, strict=True):
            # Constant folding replaces uniform operands by scalars, so `out` may need a broadcast.
            out = np.broadcast_to(out, var.spec.shape)
            values[var] = np.ascontiguousarray(out, var.spec.dtype.name).reshape(out.shape)
    return [value(o) for o in graph.outputs]


def _to_float32(x):
    return x.astype("float32") if x.dtype.name == "float16" else x
