"""Expression code generation: render scalar expressions of primitives as WGSL.

backends/expressions.py and wasm/expression_codegen.py define the semantics. A value has a kind: "f"
f32, "i" i32, "u" uint8 in a u32 (0..255), "b" bool. float16 has kind "f": it is computed in f32.
Functions without an exact WGSL builtin are defined in functions.wgsl.
"""
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import copysign, isfinite, isnan
from struct import unpack

from ...ir.scalar_expression import ScalarExpression
from ..expressions import ExpressionVisitor, float32

TYPES = {"f": "f32", "i": "i32", "u": "u32", "b": "bool"}
FUNCTION_SUFFIXES = {"f": "f32", "i": "i32", "u": "u8", "b": "bool"}       # of functions.wgsl
OPERATORS = {"add": "+", "sub": "-", "mul": "*", "div": "/", "and": "&", "or": "|", "xor": "^"}
COMPARISONS = {"eq": "==", "ne": "!=", "lt": "<", "gt": ">", "le": "<=", "ge": ">="}
SHIFTS = {"shl": "shift_left", "shr": "shift_right"}
# Functions whose WGSL builtins are exact, by name and kind of the first argument.
WGSL_BUILTINS = {
    "abs": {"f": "abs({})", "i": "abs({})", "u": "{}"},
    "sqrt": {"f": "sqrt({})"},
    "floor": {"f": "floor({})", "i": "{}", "u": "{}"},
    "ceil": {"f": "ceil({})", "i": "{}", "u": "{}"},
    "round": {"f": "round({})", "i": "{}", "u": "{}"},
    "sign": {"i": "sign({})", "u": "min({}, 1u)"},
    "max": {"i": "max({}, {})", "u": "max({}, {})", "b": "({} | {})"},
    "min": {"i": "min({}, {})", "u": "min({}, {})", "b": "({} & {})"},
}
FLOAT_PREDICATES = {"isnan": "is_nan({})", "isfinite": "is_finite({})"}
CASTS = {
    "if": "f32({})", "uf": "f32({})", "bf": "f32({})", "ui": "i32({})", "bi": "i32({})",
    "iu": "(bitcast<u32>({}) & 255u)", "bu": "u32({})", "ib": "({} != 0)", "ub": "({} != 0u)",
    "fi": "f32_to_i32({})", "fu": "f32_to_u8({})", "fb": "!is_zero({})",
}


@dataclass(frozen=True)
class WgslExpression:
    """WGSL text of a kind, and its value if it is constant. A literal of the source expression has
    no kind until it is an operand."""

    text: str
    kind: str | None
    constant: float | None = None


def render_expression(expression: ScalarExpression, args: list[WgslExpression], kind: str) -> str:
    """Render a scalar expression over x, y and z; `args` are names or other short expressions, and
    `kind` is the kind of the result."""
    names = dict(zip("xyz", args))
    result = _with_kind(_WgslRenderer(kind).visit(expression.root, names, kind), kind)
    assert result.kind == kind, f"{expression} of {args} has kind {result.kind}, not {kind}"
    return result.text


def literal(value: float, kind: str) -> str:
    """Render a constant of a kind. A constant that is not finite is computed at run time."""
    if kind == "f":
        return _float(float(value))
    if kind == "b":
        return "true" if value else "false"
    if kind == "u":
        return f"{int(value) & 255}u"
    wrapped = (int(value) + 2**31) % 2**32 - 2**31
    return f"i32({wrapped})" if wrapped < 0 else f"{wrapped}i"


def _float(value: float) -> str:
    value, = unpack("<f", float32(value))
    if isfinite(value):
        text = f"{value:.9g}"
        text = f"{text}f" if re.search("[.e]", text) else f"{text}.0f"
        return f"({text})" if text.startswith("-") else text
    return "nan()" if isnan(value) else "infinity()" if value > 0 else "(-infinity())"


def _with_kind(x: WgslExpression, kind: str) -> WgslExpression:
    """Give a literal its kind; every other expression is unchanged."""
    if x.kind is not None:
        return x
    return WgslExpression(literal(x.constant, kind), kind, x.constant)


class _WgslRenderer(ExpressionVisitor[WgslExpression]):
    """Renders an expression whose result has kind `result_kind`."""

    def __init__(self, result_kind: str):
        self.result_kind = result_kind

    def literal(self, value: float) -> WgslExpression:
        return WgslExpression("", None, value)

    def unary(self, op: str, x: WgslExpression) -> WgslExpression:
        if op == "not":
            text = f"!{x.text}" if x.kind == "b" else _wrap_uint8(f"(~{x.text})", x.kind)
            return WgslExpression(text, x.kind)
        text = _wrap_uint8(f"(0u - {x.text})", "u") if x.kind == "u" else f"(-{x.text})"
        return WgslExpression(text, x.kind)

    def binary(self, op: str, x: WgslExpression, y: WgslExpression,
               expected_kind: str) -> WgslExpression:
        if op in SHIFTS:
            return self.call(SHIFTS[op], [x, y], expected_kind)
        kind = x.kind or y.kind or expected_kind
        x, y = _with_kind(x, kind), _with_kind(y, kind)
        assert x.kind == y.kind, f"{op} of {x.kind} and {y.kind}"
        if kind == "b" and op == "xor":
            return WgslExpression(f"({x.text} != {y.text})", kind)
        if op == "div" and y.constant == 0:
            # Drivers may compile a division by constant 0 to anything: lavapipe does.
            sign = "0x80000000u" if copysign(1.0, y.constant) < 0 else "0u"
            return WgslExpression(f"over_zero({x.text}, {sign})", kind)
        return WgslExpression(_wrap_uint8(f"({x.text} {OPERATORS[op]} {y.text})", kind), kind)

    def compare(self, op: str, x: WgslExpression, y: WgslExpression) -> WgslExpression:
        symbol, kind = COMPARISONS[op], x.kind or y.kind
        assert kind is not None, "one side of a comparison is not a literal"
        x, y = _with_kind(x, kind), _with_kind(y, kind)
        if kind == "f" and x.text == y.text and symbol in ("==", "!="):
            # A test for NaN; WGSL implementations may assume that a value equals itself.
            return WgslExpression(f"{'!' if symbol == '==' else ''}is_nan({x.text})", "b")
        if kind == "f" and symbol == "!=":
            # True for NaN; WGSL implementations may assume that no operand of != is NaN.
            return WgslExpression(f"!({x.text} == {y.text})", "b")
        if kind == "b" and symbol not in ("==", "!="):
            x, y = (WgslExpression(f"u32({t.text})", "u") for t in (x, y))
        return WgslExpression(f"({x.text} {symbol} {y.text})", "b")

    def call(self, name: str, args: list[WgslExpression], expected_kind: str) -> WgslExpression:
        if name == "select":
            kind = args[1].kind or args[2].kind or expected_kind
            condition = _with_kind(args[0], "b")
            x, y = _with_kind(args[1], kind), _with_kind(args[2], kind)
            return WgslExpression(f"select({y.text}, {x.text}, {condition.text})", kind)
        if name == "cast":
            x, target = _with_kind(args[0], self.result_kind), self.result_kind
            return x if x.kind == target else \
                WgslExpression(CASTS[f"{x.kind}{target}"].format(x.text), target)
        if name in FLOAT_PREDICATES:
            x = _with_kind(args[0], "f")
            return WgslExpression(FLOAT_PREDICATES[name].format(x.text), "b")
        kind = next((a.kind for a in args if a.kind), expected_kind)
        args = [_with_kind(a, kind) for a in args]
        return WgslExpression(self.call_text(name, kind, args), kind)

    def call_text(self, name: str, kind: str, args: list[WgslExpression]) -> str:
        texts = [a.text for a in args]
        if kind in WGSL_BUILTINS.get(name, ()):
            return WGSL_BUILTINS[name][kind].format(*texts)
        if name == "pow" and args[1].constant == 2:
            return _wrap_uint8(f"({texts[0]} * {texts[0]})", kind)
        if name in ("max", "min") and (constants := [a for a in args if _is_number(a)]):
            other = args[0] if constants[0] is args[1] else args[1]
            return f"{name}_with_constant_f32({other.text}, {constants[0].text})"
        return f"{name}_{FUNCTION_SUFFIXES[kind]}({', '.join(texts)})"


def _is_number(x: WgslExpression) -> bool:
    """Whether an expression is a constant other than NaN."""
    return x.constant is not None and not isnan(x.constant)


def _wrap_uint8(text: str, kind: str) -> str:
    """Wrap a result of uint8 arithmetic to 0..255; other kinds are unchanged."""
    return f"({text} & 255u)" if kind == "u" else text


# ── the library ───────────────────────────────────────────────────────────────────────────────


_ITEM = re.compile(r"^(?:fn|struct|var<private>) (\w+)(?:[^\n]*[;}]\n|.*?^}\n)", re.M | re.S)


@cache
def _library() -> dict[str, str]:
    """The declarations of functions.wgsl by name; each is one line, or ends with a brace in the
    first column."""
    text = (files(__package__) / "functions.wgsl").read_text(encoding="utf-8")
    return {match[1]: match[0] for match in _ITEM.finditer(text)}


@cache
def _dependencies(name: str) -> frozenset[str]:
    """The declarations that a declaration uses, transitively, and the declaration itself."""
    words = set(re.findall(r"\w+", _library()[name])) & set(_library()) - {name}
    return frozenset({name}).union(*map(_dependencies, words))


def library_source_for(code: str) -> str:
    """Return the declarations of functions.wgsl that the code uses."""
    words = set(re.findall(r"\w+", code)) & set(_library())
    needed = frozenset().union(*map(_dependencies, words))
    return "".join(text for name, text in _library().items() if name in needed)
