"""Formulas, the text in primitives, turned into WebAssembly vector instructions.

Every value is a vector of four 32-bit lanes of a kind: "f" float32, "i" int32, "u" uint8 (kept in
0..255), "b" bool (all ones or all zeros), and "d", two float64, inside functions only. A call names
a function of `functions.LIBRARY`, one of the `BUILTINS` below, or a machine instruction:
`f32x4.sqrt(x)`. The rest is as language.py says.
"""
import ast
from dataclasses import dataclass, replace
from functools import cache
from math import frexp, isnan
from struct import pack

from ..expressions import OPERATOR_FUNCTIONS, ExpressionVisitor, fold_unary, float32, parse_expression
from .assembler import OPCODES, i32_const, shuffle, v128_const
from .math_library import LIBRARY

KIND_OF_NAME = {"float32": "f", "int32": "i", "uint8": "u", "bool": "b", "float64": "d"}
NAME_OF_KIND = {kind: name for name, kind in KIND_OF_NAME.items()}
SHAPES = {"f": "f32x4", "i": "i32x4", "u": "i32x4", "b": "i32x4", "d": "f64x2"}
KIND_OF_SHAPE = {"f32x4": "f", "i32x4": "i", "f64x2": "d"}
ARITHMETIC = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div"}
BITWISE = {ast.BitAnd: "v128.and", ast.BitOr: "v128.or", ast.BitXor: "v128.xor"}
SHIFTS = {ast.LShift: ("i32x4.shl", "shift_left"), ast.RShift: ("i32x4.shr_s", "shift_right")}
# Folds of floats, as instructions that keep what they hold where the other is NaN.
NAN_DROPPING_REDUCTIONS = {"max(x, y)": "f32x4.pmax(x, y)", "min(x, y)": "f32x4.pmin(x, y)"}
COMPARISONS = {ast.Eq: "eq", ast.NotEq: "ne", ast.Lt: "lt", ast.Gt: "gt", ast.LtE: "le",
               ast.GtE: "ge"}


@dataclass(frozen=True)
class CompiledExpression:
    """Instructions (code, arguments) over a formula's inputs: values 0, 1, ... are the inputs,
    instruction i makes value `inputs + i`."""

    inputs: int
    code: tuple[tuple[bytes, tuple[int, ...]], ...]
    result: int


@dataclass(frozen=True)
class Value:
    """What instruction `at` makes, of a kind; `number` if that is known. A number of the text has
    neither place nor kind until it meets something."""

    at: int | None
    kind: str | None
    number: float | None = None


@cache
def compile_expression(formula: str, kinds: str, kind: str, relaxed: bool, numbers=(None,) * 3) -> CompiledExpression:
    """The instructions of `formula` over x, y, z of `kinds`; its result has `kind`. `numbers` are
    those that x, y, z are known to be: they may save instructions."""
    writer = _ExpressionCompiler(len(kinds), kind, relaxed)
    names = {name: Value(i, *known) for i, (name, *known) in enumerate(zip("xyz", kinds, numbers))}
    value = writer.coerce(writer.visit(parse_expression(formula), names, kind), kind)
    assert value.kind == kind, f"{formula} over {kinds} gives {value.kind}, not {kind}"
    return CompiledExpression(len(kinds), tuple(writer.code), value.at)


@cache
def _texts() -> dict[str, list[str]]:
    """The library's definitions by name; a name may have several, for arguments of other kinds."""
    found: dict[str, list[str]] = {}
    for text in LIBRARY.split("\ndef ")[1:]:
        found.setdefault(text[:text.index("(")], []).append("def " + text)
    return found


@cache
def _definitions(name: str) -> list[ast.stmt]:
    """What the library says of `name`, parsed when it is first wanted."""
    return [ast.parse(text).body[0] for text in _texts().get(name, ())]


def constant(number: float, kind: str) -> bytes:
    """The instruction that puts `number` into every lane."""
    if kind == "f":
        return v128_const(float32(number) * 4)
    if kind == "d":
        return v128_const(pack("<d", number) * 2)
    if kind == "b":
        return v128_const((b"\xff" if number else b"\0") * 16)
    return v128_const(pack("<I", int(number) & (0xFF if kind == "u" else 0xFFFFFFFF)) * 4)


class _ExpressionCompiler(ExpressionVisitor[Value]):
    """Walks expressions and writes instructions, each different one once."""

    def __init__(self, inputs: int, result: str, relaxed: bool):
        self.inputs, self.result, self.relaxed = inputs, result, relaxed
        self.code: list[tuple[bytes, tuple[int, ...]]] = []
        self.known: dict[tuple[bytes, tuple[int, ...]], int] = {}

    def write(self, kind: str, code: bytes, *args: Value) -> Value:
        key = code, tuple(a.at for a in args)
        if key not in self.known:
            self.known[key] = self.inputs + len(self.code)
            self.code.append(key)
        return Value(self.known[key], kind)

    def op(self, kind: str, name: str, *args: Value) -> Value:
        return self.write(kind, OPCODES[name], *args)

    def coerce(self, value: Value, kind: str) -> Value:
        """A number of the text takes on `kind`; anything else has one."""
        if value.kind is not None:
            return value
        return replace(self.write(kind, constant(value.number, kind)), number=value.number)

    def wrap_to_uint8(self, value: Value) -> Value:
        """What arithmetic on uint8 leaves, wrapped to 0..255."""
        return self.op("u", "v128.and", value, self.coerce(_number(255), "u"))

    def number(self, number: float) -> Value:
        return _number(number)

    def unary(self, op: ast.unaryop, x: Value) -> Value:
        if x.kind is None:
            assert x.number is not None, "a value without a kind is a number"
            return _number(fold_unary(op, x.number))
        if isinstance(op, ast.Invert):
            out = self.op(x.kind, "v128.not", x)
        else:
            assert isinstance(op, ast.USub)
            out = self.op(x.kind, f"{SHAPES[x.kind]}.neg", x)
        return self.wrap_to_uint8(out) if x.kind == "u" else out

    def binary(self, op: ast.operator, x: Value, y: Value, wanted: str) -> Value:
        if type(op) in OPERATOR_FUNCTIONS:
            return self.call(OPERATOR_FUNCTIONS[type(op)], [x, y], wanted)
        if type(op) in SHIFTS:
            return self.shift(op, self.coerce(x, wanted), y)
        kind = x.kind or y.kind or wanted
        x, y = self.coerce(x, kind), self.coerce(y, kind)
        assert x.kind == y.kind, f"{type(op).__name__} of {x.kind} and {y.kind}"
        if type(op) in BITWISE:
            return self.op(kind, BITWISE[type(op)], x, y)
        if isinstance(op, ast.Div) and y.number is not None and _has_exact_reciprocal(y.number):
            op, y = ast.Mult(), self.coerce(_number(1 / y.number), kind)
        out = self.op(kind, f"{SHAPES[kind]}.{ARITHMETIC[type(op)]}", x, y)
        return self.wrap_to_uint8(out) if kind == "u" else out

    def shift(self, op: ast.operator, x: Value, y: Value) -> Value:
        """By a number in one instruction, by a value through the library."""
        name, function = SHIFTS[type(op)]
        if y.number is None:
            return self.call(function, [x, y], x.kind)
        if not 0 <= y.number < 32:
            return self.call(function, [x, self.coerce(y, x.kind)], x.kind)
        out = self.write(x.kind, i32_const(int(y.number)) + OPCODES[name], x)
        return self.wrap_to_uint8(out) if x.kind == "u" else out

    def compare(self, op: ast.cmpop, x: Value, y: Value) -> Value:
        kind = x.kind or y.kind
        assert kind is not None, "one side of a comparison is more than a number"
        name = COMPARISONS[type(op)]
        if kind in "iub" and name not in ("eq", "ne"):
            name += "_u" if kind == "b" else "_s"
        return self.op("b", f"{SHAPES[kind]}.{name}", self.coerce(x, kind), self.coerce(y, kind))

    def intrinsic(self, shape: str, name: str, args: list[Value]) -> Value:
        """An instruction by its own name. Those of v128 keep the kind of their first argument."""
        kind = KIND_OF_SHAPE.get(shape) or args[0].kind
        return self.op(kind, f"{shape}.{name}", *(self.coerce(a, kind) for a in args))

    def call(self, name: str, args: list[Value], wanted: str) -> Value:
        if name in BUILTINS:
            return BUILTINS[name](self, *args, wanted)
        if name in PEEPHOLES and (shorter := PEEPHOLES[name](self, *args)):
            return shorter
        for definition in _definitions(name):
            kinds = [KIND_OF_NAME[p.annotation.id] for p in definition.args.args]
            if len(kinds) == len(args) and all(a.kind in (None, k) for a, k in zip(args, kinds)):
                return self.inline_function(definition, [self.coerce(a, k) for a, k in zip(args, kinds)])
        raise AssertionError(f"no function {name} of {[a.kind for a in args]}")

    def inline_function(self, definition: ast.FunctionDef, args: list[Value]) -> Value:
        """A library function's lines over `args`."""
        names = {p.arg: a for p, a in zip(definition.args.args, args)}
        for line in definition.body[:-1]:
            names[line.targets[0].id] = self.visit(line.value, names, args[0].kind)
        last = definition.body[-1]
        return self.coerce(self.visit(last.value, names, args[0].kind), args[0].kind)

    def select(self, test: Value, x: Value, y: Value, wanted: str) -> Value:
        kind = x.kind or y.kind or wanted
        name = "i32x4.relaxed_laneselect" if self.relaxed else "v128.bitselect"
        return self.op(kind, name, self.coerce(x, kind), self.coerce(y, kind), self.coerce(test, "b"))

    def madd(self, x: Value, y: Value, z: Value, wanted: str) -> Value:
        """x * y + z, rounded once or twice."""
        x, y, z = (self.coerce(v, "f") for v in (x, y, z))
        if self.relaxed:
            return self.op("f", "f32x4.relaxed_madd", x, y, z)
        return self.op("f", "f32x4.add", self.op("f", "f32x4.mul", x, y), z)

    def cast(self, x: Value, wanted: str) -> Value:
        """To the kind of the whole formula."""
        x = self.coerce(x, self.result)
        return x if x.kind == self.result else self.call(NAME_OF_KIND[self.result], [x], wanted)

    def high_half(self, x: Value, wanted: str) -> Value:
        """Lanes 2 and 3, as lanes 0 and 1."""
        return self.write(x.kind, shuffle(2, 3, 2, 3), x, x)

    def concat_halves(self, low: Value, high: Value, wanted: str) -> Value:
        """Lanes 0 and 1 of each."""
        return self.write(low.kind, shuffle(0, 1, 4, 5), low, high)

    def square(self, x: Value, y: Value) -> Value | None:
        """pow(x, 2)."""
        return self.binary(ast.Mult(), x, x, x.kind) if y.number == 2 and x.kind else None

    def min_max_with_constant(self, name: str, x: Value, y: Value) -> Value | None:
        """max or min of floats where one is a number: the instruction that takes its first operand
        when the two do not compare passes NaN on, for only that one can be it."""
        if y.number is None:
            x, y = y, x
        if x.kind != "f" or y.number is None or isnan(y.number):
            return None
        return self.op("f", name, x, self.coerce(y, "f"))


def _reinterpret(kind: str):
    """The same bits as another kind; a number from the text becomes one of that kind."""
    return lambda writer, x, wanted: Value(writer.coerce(x, kind).at, kind)


def _has_exact_reciprocal(number: float | None) -> bool:
    """Whether dividing by it and multiplying by its inverse are the same: it is a power of two."""
    return (number is not None and abs(frexp(number)[0]) == 0.5
            and 2**-126 <= abs(number) <= 2**126)


def _number(number: float) -> Value:
    """A number of the text."""
    return Value(None, None, number)


BUILTINS = {"select": _ExpressionCompiler.select, "madd": _ExpressionCompiler.madd, "cast": _ExpressionCompiler.cast,
            "high": _ExpressionCompiler.high_half, "join": _ExpressionCompiler.concat_halves, "as_int32": _reinterpret("i"),
            "as_float32": _reinterpret("f"), "as_uint8": _reinterpret("u"), "as_bool": _reinterpret("b")}
# Ways that are open when a number is known; each gives None when it is not.
PEEPHOLES = {"pow": _ExpressionCompiler.square,
           "max": lambda writer, x, y: writer.min_max_with_constant("f32x4.pmax", x, y),
           "min": lambda writer, x, y: writer.min_max_with_constant("f32x4.pmin", x, y)}
