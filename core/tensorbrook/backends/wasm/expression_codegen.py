"""Code generation for scalar expressions: the text in primitives becomes SIMD instructions.

Every value is a vector of four 32-bit lanes of a kind: "f" float32, "i" int32, "u" uint8 (kept in
0..255), "b" bool (all ones or all zeros), and "d", two float64, only inside library functions. A
call names a function of math_library.LIBRARY, one of the BUILTINS below, or a machine instruction:
`f32x4.sqrt(x)`. backends/expressions.py defines the language.
"""
import ast
from dataclasses import dataclass, replace
from functools import cache
from math import frexp, isnan
from struct import pack
from typing import Any

from ...ir.scalar_expression import (ARITHMETIC, Node, ScalarExpression, parse,
                                     scalar_expression)
from ..expressions import ExpressionVisitor, float32
from .assembler import OPCODES, i32_const, shuffle, v128_const
from .math_library import LIBRARY

KIND_OF_NAME = {"float32": "f", "int32": "i", "uint8": "u", "bool": "b", "float64": "d"}
NAME_OF_KIND = {kind: name for name, kind in KIND_OF_NAME.items()}
SHAPES = {"f": "f32x4", "i": "i32x4", "u": "i32x4", "b": "i32x4", "d": "f64x2"}
KIND_OF_SHAPE = {"f32x4": "f", "i32x4": "i", "f64x2": "d"}
BITWISE = {"and": "v128.and", "or": "v128.or", "xor": "v128.xor"}
SHIFTS = {"shl": ("i32x4.shl", "shift_left"), "shr": ("i32x4.shr_s", "shift_right")}
# Float reductions as instructions that ignore y where it is NaN.
NAN_DROPPING_REDUCTIONS = {
    scalar_expression("max(x, y)"): scalar_expression("f32x4.pmax(x, y)"),
    scalar_expression("min(x, y)"): scalar_expression("f32x4.pmin(x, y)")}


@dataclass(frozen=True)
class CompiledExpression:
    """Instructions (code, args) of an expression. Its inputs are values 0, 1, ...; instruction i
    computes value `input_count + i`."""

    input_count: int
    code: tuple[tuple[bytes, tuple[int, ...]], ...]
    result: int


@dataclass(frozen=True)
class Value:
    """Value `index`, of a kind; `constant` if it is known at compile time. A literal has neither
    index nor kind until it is combined with a typed operand."""

    index: int | None
    kind: str | None
    constant: float | None = None


@cache
def compile_expression(
    expression: ScalarExpression, kinds: str, kind: str, relaxed: bool, constants=(None,) * 3
) -> CompiledExpression:
    """Compile an expression over x, y, z of `kinds` with a result of `kind`. `constants` are the
    values of x, y, z known at compile time; they can save instructions."""
    compiler = _ExpressionCompiler(len(kinds), kind, relaxed)
    names = {"xyz"[i]: Value(i, *known) for i, known in enumerate(zip(kinds, constants))}
    value = compiler.visit(expression.root, names, kind)
    value = compiler.coerce(value, kind)
    assert value.kind == kind, f"{expression} over {kinds} gives {value.kind}, not {kind}"
    return CompiledExpression(len(kinds), tuple(compiler.code), value.index)


@cache
def _definition_texts() -> dict[str, list[str]]:
    """Return the library's definitions by name; overloads differ in the kinds of their params."""
    texts: dict[str, list[str]] = {}
    for text in LIBRARY.split("\ndef ")[1:]:
        texts.setdefault(text[:text.index("(")], []).append("def " + text)
    return texts


@dataclass(frozen=True)
class _Definition:
    """A library function: assignments to locals, and then its result."""

    params: tuple[str, ...]
    kinds: tuple[str, ...]
    assignments: tuple[tuple[str, Node], ...]
    result: Node


@cache
def _definitions(name: str) -> list[_Definition]:
    """Return the overloads of a library function, parsed on first use."""
    return [_parse_definition(ast.parse(text).body[0])
            for text in _definition_texts().get(name, ())]


def _parse_definition(function: Any) -> _Definition:
    params = function.args.args
    *assignments, last = function.body
    return _Definition(tuple(p.arg for p in params),
                       tuple(KIND_OF_NAME[p.annotation.id] for p in params),
                       tuple((a.targets[0].id, parse(a.value)) for a in assignments),
                       parse(last.value))


def constant(x: float, kind: str) -> bytes:
    """Return the instruction that pushes a vector with `x` in every lane."""
    if kind == "f":
        return v128_const(float32(x) * 4)
    if kind == "d":
        return v128_const(pack("<d", x) * 2)
    if kind == "b":
        return v128_const((b"\xff" if x else b"\0") * 16)
    return v128_const(pack("<I", int(x) & (0xFF if kind == "u" else 0xFFFFFFFF)) * 4)


class _ExpressionCompiler(ExpressionVisitor[Value]):
    """Emits the instructions of an expression; equal instructions are emitted once."""

    def __init__(self, input_count: int, result_kind: str, relaxed: bool):
        self.input_count, self.result_kind, self.relaxed = input_count, result_kind, relaxed
        self.code: list[tuple[bytes, tuple[int, ...]]] = []
        self.interned: dict[tuple[bytes, tuple[int, ...]], int] = {}

    def emit(self, kind: str, code: bytes, *args: Value) -> Value:
        key = code, tuple(a.index for a in args)
        if key not in self.interned:
            self.interned[key] = self.input_count + len(self.code)
            self.code.append(key)
        return Value(self.interned[key], kind)

    def op(self, kind: str, name: str, *args: Value) -> Value:
        return self.emit(kind, OPCODES[name], *args)

    def coerce(self, value: Value, kind: str) -> Value:
        """Give a literal the kind `kind`; other values already have one."""
        if value.kind is not None:
            return value
        return replace(self.emit(kind, constant(value.constant, kind)), constant=value.constant)

    def wrap_to_uint8(self, value: Value) -> Value:
        """Wrap the result of uint8 arithmetic to 0..255."""
        return self.op("u", "v128.and", value, self.coerce(_literal(255), "u"))

    def literal(self, value: float) -> Value:
        return _literal(value)

    def unary(self, op: str, x: Value) -> Value:
        name = "v128.not" if op == "not" else f"{SHAPES[x.kind]}.neg"
        out = self.op(x.kind, name, x)
        return self.wrap_to_uint8(out) if x.kind == "u" else out

    def binary(self, op: str, x: Value, y: Value, expected_kind: str) -> Value:
        if op in SHIFTS:
            return self.shift(op, self.coerce(x, expected_kind), y)
        kind = x.kind or y.kind or expected_kind
        x, y = self.coerce(x, kind), self.coerce(y, kind)
        assert x.kind == y.kind, f"{op} of {x.kind} and {y.kind}"
        if op in BITWISE:
            return self.op(kind, BITWISE[op], x, y)
        assert op in ARITHMETIC, f"{op} is not a binary operator"
        if op == "div" and y.constant is not None and _has_exact_reciprocal(y.constant):
            op, y = "mul", self.coerce(_literal(1 / y.constant), kind)
        out = self.op(kind, f"{SHAPES[kind]}.{op}", x, y)
        return self.wrap_to_uint8(out) if kind == "u" else out

    def shift(self, op: str, x: Value, y: Value) -> Value:
        """A shift by a constant is one instruction, by another value a library function."""
        name, function = SHIFTS[op]
        if y.constant is None:
            return self.call(function, [x, y], x.kind)
        if not 0 <= y.constant < 32:
            return self.call(function, [x, self.coerce(y, x.kind)], x.kind)
        out = self.emit(x.kind, i32_const(int(y.constant)) + OPCODES[name], x)
        return self.wrap_to_uint8(out) if x.kind == "u" else out

    def compare(self, op: str, x: Value, y: Value) -> Value:
        kind = x.kind or y.kind
        assert kind is not None, "one side of a comparison is not a literal"
        if kind in "iub" and op not in ("eq", "ne"):
            op += "_u" if kind == "b" else "_s"
        return self.op("b", f"{SHAPES[kind]}.{op}", self.coerce(x, kind), self.coerce(y, kind))

    def intrinsic(self, shape: str, name: str, args: list[Value]) -> Value:
        """A machine instruction; a v128 instruction returns the kind of its first argument."""
        kind = KIND_OF_SHAPE.get(shape) or args[0].kind
        return self.op(kind, f"{shape}.{name}", *(self.coerce(a, kind) for a in args))

    def call(self, name: str, args: list[Value], expected_kind: str) -> Value:
        if name in BUILTINS:
            return BUILTINS[name](self, *args, expected_kind)
        if name in PEEPHOLES and (shorter := PEEPHOLES[name](self, *args)):
            return shorter
        for definition in _definitions(name):
            kinds = definition.kinds
            if len(kinds) == len(args) and all(a.kind in (None, k) for a, k in zip(args, kinds)):
                args = [self.coerce(a, k) for a, k in zip(args, kinds)]
                return self.inline_function(definition, args)
        raise AssertionError(f"no function {name} of {[a.kind for a in args]}")

    def inline_function(self, definition: _Definition, args: list[Value]) -> Value:
        """Inline a library function; its first argument has the kind of literals."""
        names = dict(zip(definition.params, args))
        kind = args[0].kind
        for name, node in definition.assignments:
            names[name] = self.visit(node, names, kind)
        return self.coerce(self.visit(definition.result, names, kind), kind)

    def select(self, test: Value, x: Value, y: Value, expected_kind: str) -> Value:
        kind = x.kind or y.kind or expected_kind
        name = "i32x4.relaxed_laneselect" if self.relaxed else "v128.bitselect"
        x, y, test = self.coerce(x, kind), self.coerce(y, kind), self.coerce(test, "b")
        return self.op(kind, name, x, y, test)

    def madd(self, x: Value, y: Value, z: Value, expected_kind: str) -> Value:
        """Multiply-add: x * y + z, rounded once or twice."""
        x, y, z = (self.coerce(v, "f") for v in (x, y, z))
        if self.relaxed:
            return self.op("f", "f32x4.relaxed_madd", x, y, z)
        return self.op("f", "f32x4.add", self.op("f", "f32x4.mul", x, y), z)

    def cast(self, x: Value, expected_kind: str) -> Value:
        """Cast to the kind of the expression's result."""
        x = self.coerce(x, self.result_kind)
        if x.kind == self.result_kind:
            return x
        return self.call(NAME_OF_KIND[self.result_kind], [x], expected_kind)

    def high_half(self, x: Value, expected_kind: str) -> Value:
        """Move lanes 2 and 3 to lanes 0 and 1."""
        return self.emit(x.kind, shuffle(2, 3, 2, 3), x, x)

    def concat_halves(self, low: Value, high: Value, expected_kind: str) -> Value:
        """Concatenate lanes 0 and 1 of two vectors."""
        return self.emit(low.kind, shuffle(0, 1, 4, 5), low, high)

    def square(self, x: Value, y: Value) -> Value | None:
        """pow(x, 2)."""
        return self.binary("mul", x, x, x.kind) if y.constant == 2 and x.kind else None

    def min_max_with_constant(self, name: str, x: Value, y: Value) -> Value | None:
        """max or min of a float x and a constant: pmax(x, y) and pmin(x, y) return x if either is
        NaN, which propagates NaN because the constant is not NaN."""
        if y.constant is None:
            x, y = y, x
        if x.kind != "f" or y.constant is None or isnan(y.constant):
            return None
        return self.op("f", name, x, self.coerce(y, "f"))


def _reinterpret(kind: str):
    """Return a compiler of bit casts to `kind`; a literal takes that kind."""
    return lambda compiler, x, expected_kind: Value(compiler.coerce(x, kind).index, kind)


def _has_exact_reciprocal(x: float | None) -> bool:
    """Whether 1 / x is exact and normal, so that multiplying by it equals dividing by x: x is a
    power of two."""
    return x is not None and abs(frexp(x)[0]) == 0.5 and 2**-126 <= abs(x) <= 2**126


def _literal(x: float) -> Value:
    return Value(None, None, x)


BUILTINS = {
    "select": _ExpressionCompiler.select,
    "madd": _ExpressionCompiler.madd,
    "cast": _ExpressionCompiler.cast,
    "high": _ExpressionCompiler.high_half,
    "join": _ExpressionCompiler.concat_halves,
    "as_int32": _reinterpret("i"),
    "as_float32": _reinterpret("f"),
    "as_uint8": _reinterpret("u"),
    "as_bool": _reinterpret("b"),
}
# Shorter code for calls with a constant operand; each returns None if it does not apply.
PEEPHOLES = {
    "pow": _ExpressionCompiler.square,
    "max": lambda compiler, x, y: compiler.min_max_with_constant("f32x4.pmax", x, y),
    "min": lambda compiler, x, y: compiler.min_max_with_constant("f32x4.pmin", x, y),
}
