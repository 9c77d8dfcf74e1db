"""Formulas, the text in primitives, turned into WebAssembly vector instructions.

Every value is a vector of four 32-bit lanes of a kind: "f" float32, "i" int32, "u" uint8 (kept in
0..255), "b" bool (all ones or all zeros), and "d", two float64, inside functions only. Names,
operators, comparisons and numbers mean what they mean in Python; a number takes the kind of what
it meets. A call names a function of `functions.LIBRARY`, one of the `BUILTINS` below, or a machine
instruction: `f32x4.sqrt(x)`.
"""
import ast
from dataclasses import dataclass
from functools import cache
from math import inf, nan
from struct import pack

from .assembler import OPCODES, i32_const, shuffle, v128_const
from .functions import LIBRARY

KIND_OF_NAME = {"float32": "f", "int32": "i", "uint8": "u", "bool": "b", "float64": "d"}
NAME_OF_KIND = {kind: name for name, kind in KIND_OF_NAME.items()}
SHAPES = {"f": "f32x4", "i": "i32x4", "u": "i32x4", "b": "i32x4", "d": "f64x2"}
KIND_OF_SHAPE = {"f32x4": "f", "i32x4": "i", "f64x2": "d"}
ARITHMETIC = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div"}
BITWISE = {ast.BitAnd: "v128.and", ast.BitOr: "v128.or", ast.BitXor: "v128.xor"}
SHIFTS = {ast.LShift: ("i32x4.shl", "shift_left"), ast.RShift: ("i32x4.shr_s", "shift_right")}
SPELLED = {ast.FloorDiv: "floordiv", ast.Mod: "mod", ast.Pow: "pow"}
COMPARISONS = {ast.Eq: "eq", ast.NotEq: "ne", ast.Lt: "lt", ast.Gt: "gt", ast.LtE: "le",
               ast.GtE: "ge"}


@dataclass(frozen=True)
class Template:
    """Instructions (code, arguments) over a formula's inputs: values 0, 1, ... are the inputs,
    instruction i makes value `inputs + i`."""

    inputs: int
    code: tuple[tuple[bytes, tuple[int, ...]], ...]
    result: int


@dataclass(frozen=True)
class Value:
    """The number of an instruction's result and its kind; of a number in the text, the number."""

    at: float
    kind: str | None


@cache
def template(formula: str, kinds: str, kind: str, relaxed: bool) -> Template:
    """The instructions of `formula` over x, y, z of `kinds`; its result has `kind`."""
    writer = _Writer(len(kinds), kind, relaxed)
    names = {name: Value(i, k) for i, (name, k) in enumerate(zip("xyz", kinds))}
    value = writer.typed(writer.value(_parsed(formula), names, kind), kind)
    assert value.kind == kind, f"{formula} over {kinds} gives {value.kind}, not {kind}"
    return Template(len(kinds), tuple(writer.code), value.at)


@cache
def _parsed(formula: str) -> ast.expr:
    return ast.parse(formula, mode="eval").body


@cache
def _texts() -> dict[str, list[str]]:
    """The library's definitions by name; a name may have several, for arguments of other kinds."""
    found: dict[str, list[str]] = {}
    for text in LIBRARY.split("\ndef ")[1:]:
        found.setdefault(text[:text.index("(")], []).append("def " + text)
    return found


@cache
def _definitions(name: str) -> list[ast.FunctionDef]:
    """What the library says of `name`, parsed when it is first wanted."""
    return [ast.parse(text).body[0] for text in _texts().get(name, ())]


def constant(number: float, kind: str) -> bytes:
    """The instruction that puts `number` into every lane."""
    if kind == "f":
        return v128_const(pack("<f", number) * 4)
    if kind == "d":
        return v128_const(pack("<d", number) * 2)
    if kind == "b":
        return v128_const((b"\xff" if number else b"\0") * 16)
    return v128_const(pack("<I", int(number) & (0xFF if kind == "u" else 0xFFFFFFFF)) * 4)


class _Writer:
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

    def typed(self, value: Value, kind: str) -> Value:
        """A number from the text takes on `kind`; anything else has one."""
        return self.write(kind, constant(value.at, kind)) if value.kind is None else value

    def bytes_only(self, value: Value) -> Value:
        """What arithmetic on uint8 leaves, wrapped to 0..255."""
        return self.op("u", "v128.and", value, self.typed(Value(255, None), "u"))

    def value(self, node: ast.expr, names: dict[str, Value], wanted: str) -> Value:
        """The value of an expression; `wanted` is the kind of numbers that meet nothing else."""
        match node:
            case ast.Constant():
                return Value(node.value, None)
            case ast.Name(id="inf"):
                return Value(inf, None)
            case ast.Name(id="nan"):
                return Value(nan, None)
            case ast.Name():
                return names[node.id]
            case ast.UnaryOp():
                return self.unary(node.op, self.value(node.operand, names, wanted))
            case ast.BinOp():
                pair = self.value(node.left, names, wanted), self.value(node.right, names, wanted)
                return self.binary(node.op, *pair, wanted)
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                pair = self.value(left, names, wanted), self.value(right, names, wanted)
                return self.compare(op, *pair)
            case ast.Call(func=ast.Attribute(value=ast.Name(id=shape), attr=name)):
                return self.machine(shape, name, [self.value(a, names, wanted) for a in node.args])
            case ast.Call(func=ast.Name(id=name)):
                return self.call(name, [self.value(a, names, wanted) for a in node.args], wanted)
        raise AssertionError(f"{ast.unparse(node)} is not part of the formula language")

    def unary(self, op: ast.unaryop, x: Value) -> Value:
        if x.kind is None:
            return Value(-x.at if isinstance(op, ast.USub) else ~int(x.at), None)
        if isinstance(op, ast.Invert):
            out = self.op(x.kind, "v128.not", x)
        else:
            assert isinstance(op, ast.USub)
            out = self.op(x.kind, f"{SHAPES[x.kind]}.neg", x)
        return self.bytes_only(out) if x.kind == "u" else out

    def binary(self, op: ast.operator, x: Value, y: Value, wanted: str) -> Value:
        if type(op) in SPELLED:
            return self.call(SPELLED[type(op)], [x, y], wanted)
        if type(op) in SHIFTS:
            return self.shift(op, self.typed(x, wanted), y)
        kind = x.kind or y.kind or wanted
        x, y = self.typed(x, kind), self.typed(y, kind)
        assert x.kind == y.kind, f"{type(op).__name__} of {x.kind} and {y.kind}"
        if type(op) in BITWISE:
            return self.op(kind, BITWISE[type(op)], x, y)
        out = self.op(kind, f"{SHAPES[kind]}.{ARITHMETIC[type(op)]}", x, y)
        return self.bytes_only(out) if kind == "u" else out

    def shift(self, op: ast.operator, x: Value, y: Value) -> Value:
        """By a number in one instruction, by a value through the library."""
        name, function = SHIFTS[type(op)]
        if y.kind is not None:
            return self.call(function, [x, y], x.kind)
        out = self.write(x.kind, i32_const(int(y.at)) + OPCODES[name], x)
        return self.bytes_only(out) if x.kind == "u" else out

    def compare(self, op: ast.cmpop, x: Value, y: Value) -> Value:
        kind = x.kind or y.kind
        name = COMPARISONS[type(op)]
        if kind in "iub" and name not in ("eq", "ne"):
            name += "_u" if kind == "b" else "_s"
        return self.op("b", f"{SHAPES[kind]}.{name}", self.typed(x, kind), self.typed(y, kind))

    def machine(self, shape: str, name: str, args: list[Value]) -> Value:
        """An instruction by its own name. Those of v128 keep the kind of their first argument."""
        kind = KIND_OF_SHAPE.get(shape) or args[0].kind
        return self.op(kind, f"{shape}.{name}", *(self.typed(a, kind) for a in args))

    def call(self, name: str, args: list[Value], wanted: str) -> Value:
        if name in BUILTINS:
            return BUILTINS[name](self, *args, wanted)
        for definition in _definitions(name):
            kinds = [KIND_OF_NAME[p.annotation.id] for p in definition.args.args]
            if len(kinds) == len(args) and all(a.kind in (None, k) for a, k in zip(args, kinds)):
                return self.inline(definition, [self.typed(a, k) for a, k in zip(args, kinds)])
        raise AssertionError(f"no function {name} of {[a.kind for a in args]}")

    def inline(self, definition: ast.FunctionDef, args: list[Value]) -> Value:
        """A library function's lines over `args`."""
        names = {p.arg: a for p, a in zip(definition.args.args, args)}
        for line in definition.body[:-1]:
            names[line.targets[0].id] = self.value(line.value, names, args[0].kind)
        last = definition.body[-1]
        return self.typed(self.value(last.value, names, args[0].kind), args[0].kind)

    def select(self, test: Value, x: Value, y: Value, wanted: str) -> Value:
        kind = x.kind or y.kind or wanted
        name = "i32x4.relaxed_laneselect" if self.relaxed else "v128.bitselect"
        return self.op(kind, name, self.typed(x, kind), self.typed(y, kind), self.typed(test, "b"))

    def madd(self, x: Value, y: Value, z: Value, wanted: str) -> Value:
        """x * y + z, rounded once or twice."""
        x, y, z = (self.typed(v, "f") for v in (x, y, z))
        if self.relaxed:
            return self.op("f", "f32x4.relaxed_madd", x, y, z)
        return self.op("f", "f32x4.add", self.op("f", "f32x4.mul", x, y), z)

    def cast(self, x: Value, wanted: str) -> Value:
        """To the kind of the whole formula."""
        x = self.typed(x, self.result)
        return x if x.kind == self.result else self.call(NAME_OF_KIND[self.result], [x], wanted)

    def high(self, x: Value, wanted: str) -> Value:
        """Lanes 2 and 3, as lanes 0 and 1."""
        return self.write(x.kind, shuffle(2, 3, 2, 3), x, x)

    def join(self, low: Value, high: Value, wanted: str) -> Value:
        """Lanes 0 and 1 of each."""
        return self.write(low.kind, shuffle(0, 1, 4, 5), low, high)


def _retagged(kind: str):
    """The same bits as another kind; a number from the text becomes one of that kind."""
    return lambda writer, x, wanted: Value(writer.typed(x, kind).at, kind)


BUILTINS = {"select": _Writer.select, "madd": _Writer.madd, "cast": _Writer.cast,
            "high": _Writer.high, "join": _Writer.join, "as_int32": _retagged("i"),
            "as_float32": _retagged("f"), "as_uint8": _retagged("u"), "as_bool": _retagged("b")}
