"""Constant folding: elementwise equations whose operands are all known scalars.

A folded value must equal the value that a kernel computes, bit for bit, for every dtype. So only
operations with one exact result are folded: arithmetic that IEEE 754 rounds correctly, integer
arithmetic that wraps, comparisons, selections and casts. Functions such as `exp`, whose last bit
depends on the backend, stay equations.
"""
from __future__ import annotations

import math
import operator
import struct
from collections.abc import Callable

from ...base.dtypes import DType
from ...ir import Atom, Const, Eqn, Graph, TensorSpec, Var
from ...ir.analysis import Replacements, rewrite
from ...ir.scalar_expression import Literal, Name, Node
from ..context import PassContext

Scalar = bool | int | float


def fold_constants(graph: Graph, context: PassContext) -> Graph:
    """Replace operands that repeat one known scalar by that scalar, and drop multiplications and
    divisions by 1. Equations that become dead are left to dead code elimination."""
    scalars: dict[Atom, Const] = {}               # tensors that hold one known scalar throughout

    def fold(e: Eqn, replacements: Replacements) -> list[Eqn]:
        context.counts["constant folding"] += 1
        if e.prim.kind == "elementwise" and not scalars.keys().isdisjoint(e.args):
            e = Eqn(e.prim, tuple(scalars.get(a, a) for a in e.args), e.attrs, e.outs)
        if (scalar := _constant_result(e, scalars)) is not None:
            scalars[e.out] = scalar
        elif (operand := _identity_operand(e)) is not None:
            replacements[e.out] = operand
        return [e]

    return rewrite(graph, fold)


def _constant_result(e: Eqn, scalars: dict[Atom, Const]) -> Const | None:
    """The scalar that fills the result of an equation, if it is known."""
    if e.prim.kind not in ("elementwise", "view") or not e.args:
        return None
    args = [a for a in (scalars.get(a, a) for a in e.args) if isinstance(a, Const) and a.is_scalar]
    if len(args) < len(e.args):
        return None
    if e.prim.kind == "view":
        return args[0]
    operands = {name: _Operand(a.value, a.spec.dtype) for name, a in zip("xyz", args)}
    value = _evaluate(e.prim.expression.root, operands, e.out.spec.dtype)
    if value is None:
        return None
    dtype = e.out.spec.dtype
    return Const(TensorSpec((), dtype), _round_to_dtype(value.value, dtype))


def _identity_operand(e: Eqn) -> Var | None:
    """The operand that a multiplication or division by 1 returns unchanged."""
    sides = {"multiply": ((0, 1), (1, 0)), "divide": ((0, 1),)}.get(e.prim.name, ())
    for i, j in sides:
        x, unit = e.args[i], e.args[j]
        if isinstance(x, Var) and isinstance(unit, Const) and unit.is_scalar and unit.value == 1 \
                and x.spec == e.out.spec:
            return x
    return None


# ── exact evaluation ──────────────────────────────────────────────────────────────────────────


class _Operand:
    """A value and its dtype; the dtype of a literal is None."""

    __slots__ = ("value", "dtype")

    def __init__(self, value: Scalar, dtype: DType | None):
        self.value, self.dtype = value, dtype


def _evaluate(node: Node, operands: dict[str, _Operand], result: DType) -> _Operand | None:
    """The exact value of an expression; None where backends may differ in the last bit."""
    if isinstance(node, Name):
        return operands[node.name]
    if isinstance(node, Literal):
        return _Operand(node.value, None)
    evaluated = [_evaluate(operand, operands, result) for operand in node.operands]
    args = [a for a in evaluated if a is not None]
    if len(args) < len(evaluated):
        return None
    if node.op == "cast":
        return _convert(args[0], result)
    if node.op == "select":
        chosen = args[1] if args[0].value else args[2]
        return _Operand(chosen.value, args[1].dtype or args[2].dtype)
    dtype = next((a.dtype for a in args if a.dtype is not None), result)
    values = [_round_to_dtype(a.value, dtype) for a in args]
    compare = _COMPARISONS.get(node.op)
    if compare is not None:
        return _Operand(compare(*values), None)
    value = _OPERATIONS.get(node.op, _unknown)(dtype, *values)
    return None if value is None else _Operand(_round_to_dtype(value, dtype), dtype)


def _convert(x: _Operand, dtype: DType) -> _Operand:
    """A cast: floats beyond int32 saturate, NaN becomes 0, integers wrap, bool is `x != 0`."""
    value = x.value
    if dtype.is_bool:
        return _Operand(value != 0, dtype)
    if isinstance(value, float) and not dtype.is_floating:
        value = 0 if math.isnan(value) else int(max(-2.0**31, min(value, 2.0**31 - 1)))
    return _Operand(_round_to_dtype(value, dtype), dtype)


def _round_to_dtype(value: Scalar, dtype: DType) -> Scalar:
    """The nearest value of a dtype: floats are rounded, integers wrap."""
    if dtype.is_bool:
        return bool(value)
    if dtype.is_floating:
        try:
            return struct.unpack(dtype.format, struct.pack(dtype.format, float(value)))[0]
        except OverflowError:
            return math.copysign(math.inf, value)
    bits = 8 * dtype.size
    wrapped = int(value) % (1 << bits)
    return wrapped - (1 << bits) if dtype.kind == "i" and wrapped >> (bits - 1) else wrapped


def _unknown(dtype: DType, *values: Scalar) -> None:
    """An operation without one exact result on all backends."""


def _arithmetic(f: Callable[..., Scalar]) -> Callable[..., Scalar | None]:
    """Numbers of any dtype but bool. float32 from float64 is rounded once, as the double has more
    than twice the digits (S. Figueroa, When is double rounding innocuous?, 1995)."""
    return lambda dtype, *values: None if dtype.is_bool else f(*values)


def _divide(dtype: DType, x: float, y: float) -> float | None:
    if not dtype.is_floating:
        return None
    if y == 0:
        return math.nan if x == 0 or math.isnan(x) else \
            math.copysign(math.inf, x) * math.copysign(1.0, y)
    return x / y


def _extreme(choose: Callable) -> Callable[..., Scalar | None]:
    """max or min: NaN if an operand is NaN. Of two zeros backends may return either."""
    def apply(dtype: DType, x: Scalar, y: Scalar) -> Scalar | None:
        if x != x or y != y:
            return math.nan
        return None if dtype.is_floating and x == 0 == y else choose(x, y)
    return apply


def _bitwise(f: Callable[..., int]) -> Callable[..., Scalar | None]:
    return lambda dtype, *values: None if dtype.is_floating else \
        bool(f(*values)) if dtype.is_bool else f(*values)


def _floats(f: Callable[[float], float]) -> Callable[..., Scalar | None]:
    """A rounding to a whole number, which keeps the sign of zero, infinities and NaN."""
    def apply(dtype: DType, x: float) -> Scalar | None:
        if not dtype.is_floating:
            return x
        return math.copysign(f(x), x) if math.isfinite(x) else x
    return apply


_COMPARISONS: dict[str, Callable[..., bool]] = {
    "eq": operator.eq, "ne": operator.ne, "lt": operator.lt, "gt": operator.gt,
    "le": operator.le, "ge": operator.ge, "isnan": lambda x: x != x,
    "isfinite": lambda x: math.isfinite(x)}

_OPERATIONS: dict[str, Callable[..., Scalar | None]] = {
    "add": _arithmetic(operator.add), "sub": _arithmetic(operator.sub),
    "mul": _arithmetic(operator.mul), "div": _divide, "neg": _arithmetic(operator.neg),
    "abs": _arithmetic(abs), "max": _extreme(max), "min": _extreme(min),
    "floor": _floats(math.floor), "ceil": _floats(math.ceil), "round": _floats(round),
    "and": _bitwise(operator.and_), "or": _bitwise(operator.or_), "xor": _bitwise(operator.xor),
    "not": lambda dtype, x: None if dtype.is_floating else not x if dtype.is_bool else ~x}
