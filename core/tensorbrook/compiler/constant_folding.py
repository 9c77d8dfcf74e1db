"""Arithmetic that is known while compiling: equations on numbers alone, and on 0 and 1."""
import math
import struct

from ..ir import Atom, Const, Eqn, Graph, TensorSpec, Var


def _nan_propagating(of):
    """`max` or `min` as the backends compute it: NaN if one side is."""
    return lambda x, y: x + y if x != x or y != y else of(x, y)


# A formula is Python's syntax too, so Python computes it; in double precision, then rounded once.
_FUNCTIONS = {
    "__builtins__": {}, "sqrt": math.sqrt, "exp": math.exp, "log": math.log, "abs": abs,
    "floor": math.floor, "ceil": math.ceil, "max": _nan_propagating(max), "min": _nan_propagating(min), "pow": math.pow,
    "select": lambda condition, x, y: x if condition else y}


def fold_constants(graph: Graph) -> Graph:
    """Maps read numbers in place of tensors that repeat one; a map that changes nothing goes.

    What is no longer read is left for `drop_unused`."""
    numbers: dict[Atom, Const] = {}               # tensors that hold one number throughout
    renamed: dict[Atom, Var] = {}
    eqns = []
    for e in graph.eqns:
        args = tuple(renamed.get(a, a) for a in e.args)
        if e.prim.kind == "elementwise":
            args = tuple(numbers.get(a, a) for a in args)
        e = Eqn(e.prim, args, e.attrs, e.outs)
        eqns.append(e)
        if (number := _constant_result(e, numbers)) is not None:
            numbers[e.out] = number
        elif (same := _identity_operand(e)) is not None:
            renamed[e.out] = same
    return Graph(graph.inputs, eqns, [renamed.get(o, o) for o in graph.outputs], graph.input_output_aliases)


def _constant_result(e: Eqn, numbers) -> Const | None:
    """The number that fills the result of an equation, if it is known."""
    args = [numbers.get(a, a) for a in e.args]
    if e.prim.kind not in ("elementwise", "view") or not args or not all(is_scalar_constant(a) for a in args):
        return None
    if e.prim.kind == "view":
        return args[0]
    if e.prim.name == "cast" and e.out.spec.dtype.kind == "u":
        return None
    try:
        formula = "x" if e.prim.name == "cast" else e.prim.expression
        value = eval(formula, _FUNCTIONS, dict(zip("xyz", (a.value for a in args))))
        spec = TensorSpec((), e.out.spec.dtype)
        return Const(spec, _round_to_dtype(value, spec))
    except (ArithmeticError, ValueError, NameError, TypeError, struct.error):
        return None              # beyond what Python computes as the backends do: they shall


def _round_to_dtype(value, spec: TensorSpec):
    kind = spec.dtype.kind
    if kind == "b":
        return bool(value & 1 if isinstance(value, int) else value)      # ~True is -2 in Python
    if kind == "f":
        return struct.unpack(spec.dtype.format, struct.pack(spec.dtype.format, value))[0]
    return struct.unpack(spec.dtype.format, struct.pack(spec.dtype.format, int(value)))[0]


def _identity_operand(e: Eqn) -> Var | None:
    """The argument that multiplying or dividing by 1 leaves as it was."""
    sides = {"multiply": ((0, 1), (1, 0)), "divide": ((0, 1),)}.get(e.prim.name, ())
    for i, j in sides:
        x, unit = e.args[i], e.args[j]
        if isinstance(x, Var) and is_scalar_constant(unit) and unit.value == 1 and x.spec == e.out.spec:
            return x
    return None


def is_scalar_constant(atom) -> bool:
    return isinstance(atom, Const) and atom.is_scalar
