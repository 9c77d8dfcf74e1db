"""Formulas, the text in primitives, rendered to WGSL expressions.

They mean what language.py and wasm/formulas.py say. A value has a kind: "f" f32, "i" i32, "u" uint8
in a u32 (0..255), "b" bool. float16 is "f" too: it is computed with in f32. What is more than an
operator of WGSL is a function of functions.wgsl.
"""
import ast
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import copysign, isfinite, isnan
from struct import unpack

from ..expressions import OPERATOR_FUNCTIONS, ExpressionVisitor, fold_unary, float32, parse_expression

TYPES = {"f": "f32", "i": "i32", "u": "u32", "b": "bool"}
FUNCTION_SUFFIXES = {"f": "f32", "i": "i32", "u": "u8", "b": "bool"}       # of functions' names
OPERATORS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.BitAnd: "&",
             ast.BitOr: "|", ast.BitXor: "^"}
COMPARISONS = {ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.Gt: ">", ast.LtE: "<=",
               ast.GtE: ">="}
FUNCTIONS = OPERATOR_FUNCTIONS | {ast.LShift: "shift_left", ast.RShift: "shift_right"}
# What WGSL itself does right: how a call is written there, by name and kind of the first argument.
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
# What asks about a float.
FLOAT_PREDICATES = {"isnan": "is_nan({})", "isfinite": "is_finite({})"}
CASTS = {
    "if": "f32({})", "uf": "f32({})", "bf": "f32({})", "ui": "i32({})", "bi": "i32({})",
    "iu": "(bitcast<u32>({}) & 255u)", "bu": "u32({})", "ib": "({} != 0)", "ub": "({} != 0u)",
    "fi": "f32_to_i32({})", "fu": "f32_to_u8({})", "fb": "!is_zero({})",
}


@dataclass(frozen=True)
class WgslExpression:
    """An expression of a kind; `number` if that is known. A number of the formula's own text has no
    kind until it meets something."""

    text: str
    kind: str | None
    number: float | None = None


def render_expression(formula: str, terms: list[WgslExpression], kind: str) -> str:
    """The expression for `formula` over x, y, z, which are names or other short expressions; its
    value has `kind`."""
    names = dict(zip("xyz", terms))
    term = _WgslRenderer(kind).visit(parse_expression(formula), names, kind)
    out = _typed(term, kind)
    assert out.kind == kind, f"{formula} over {terms} gives {out.kind}, not {kind}"
    return out.text


def literal(number: float, kind: str) -> str:
    """A number of a kind. One that is not finite is made at run time."""
    if kind == "f":
        return _float(float(number))
    if kind == "b":
        return "true" if number else "false"
    if kind == "u":
        return f"{int(number) & 255}u"
    whole = (int(number) + 2**31) % 2**32 - 2**31
    return f"i32({whole})" if whole < 0 else f"{whole}i"


def _float(number: float) -> str:
    number, = unpack("<f", float32(number))
    if isfinite(number):
        text = f"{number:.9g}"
        text = f"{text}f" if re.search("[.e]", text) else f"{text}.0f"
        return f"({text})" if text.startswith("-") else text
    return "nan()" if isnan(number) else "infinity()" if number > 0 else "(-infinity())"


def _typed(term: WgslExpression, kind: str) -> WgslExpression:
    if term.kind is not None:
        return term
    return WgslExpression(literal(term.number, kind), kind, term.number)


class _WgslRenderer(ExpressionVisitor[WgslExpression]):
    """Walks an expression; `result` is the kind of the whole."""

    def __init__(self, result: str):
        self.result = result

    def number(self, number: float) -> WgslExpression:
        return WgslExpression("", None, number)

    def unary(self, op: ast.unaryop, x: WgslExpression) -> WgslExpression:
        if x.kind is None:
            assert x.number is not None, "a value without a kind is a number"
            return self.number(fold_unary(op, x.number))
        if isinstance(op, ast.Invert):
            return WgslExpression(f"!{x.text}" if x.kind == "b" else _wrap_uint8(f"(~{x.text})", x.kind), x.kind)
        assert isinstance(op, ast.USub)
        return WgslExpression(_wrap_uint8(f"(0u - {x.text})", "u") if x.kind == "u" else f"(-{x.text})", x.kind)

    def binary(self, op: ast.operator, x: WgslExpression, y: WgslExpression, wanted: str) -> WgslExpression:
        if type(op) in FUNCTIONS:
            return self.call(FUNCTIONS[type(op)], [x, y], wanted)
        kind = x.kind or y.kind or wanted
        x, y = _typed(x, kind), _typed(y, kind)
        assert x.kind == y.kind, f"{type(op).__name__} of {x.kind} and {y.kind}"
        if kind == "b" and isinstance(op, ast.BitXor):
            return WgslExpression(f"({x.text} != {y.text})", kind)
        if isinstance(op, ast.Div) and y.number == 0:
            # A driver may make anything of a division by what it knows to be 0: lavapipe does.
            sign = "0x80000000u" if copysign(1.0, y.number) < 0 else "0u"
            return WgslExpression(f"over_zero({x.text}, {sign})", kind)
        return WgslExpression(_wrap_uint8(f"({x.text} {OPERATORS[type(op)]} {y.text})", kind), kind)

    def compare(self, op: ast.cmpop, x: WgslExpression, y: WgslExpression) -> WgslExpression:
        return self.compared(COMPARISONS[type(op)], x, y)

    @staticmethod
    def compared(op: str, x: WgslExpression, y: WgslExpression) -> WgslExpression:
        kind = x.kind or y.kind
        assert kind is not None, "one side of a comparison is more than a number"
        x, y = _typed(x, kind), _typed(y, kind)
        if kind == "f" and x.text == y.text and op in ("==", "!="):
            # What asks for NaN; WGSL may take a number to be equal to itself.
            return WgslExpression(f"{'!' if op == '==' else ''}is_nan({x.text})", "b")
        if kind == "f" and op == "!=":
            # True of NaN, while WGSL's own != may be what no NaN is.
            return WgslExpression(f"!({x.text} == {y.text})", "b")
        if kind == "b" and op not in ("==", "!="):
            x, y = (WgslExpression(f"u32({t.text})", "u") for t in (x, y))
        return WgslExpression(f"({x.text} {op} {y.text})", "b")

    def call(self, name: str, args: list[WgslExpression], wanted: str) -> WgslExpression:
        if name == "select":
            kind = args[1].kind or args[2].kind or wanted
            test, x, y = _typed(args[0], "b"), _typed(args[1], kind), _typed(args[2], kind)
            return WgslExpression(f"select({y.text}, {x.text}, {test.text})", kind)
        if name == "cast":
            x = _typed(args[0], self.result)
            same = x.kind == self.result
            return x if same else WgslExpression(CASTS[f"{x.kind}{self.result}"].format(x.text), self.result)
        if name in FLOAT_PREDICATES:
            return WgslExpression(FLOAT_PREDICATES[name].format(_typed(args[0], "f").text), "b")
        kind = next((a.kind for a in args if a.kind), wanted)
        args = [_typed(a, kind) for a in args]
        return WgslExpression(self.call_text(name, kind, args), kind)

    def call_text(self, name: str, kind: str, args: list[WgslExpression]) -> str:
        texts = [a.text for a in args]
        if kind in WGSL_BUILTINS.get(name, ()):
            return WGSL_BUILTINS[name][kind].format(*texts)
        if name == "pow" and args[1].number == 2:
            return _wrap_uint8(f"({texts[0]} * {texts[0]})", kind)
        if name in ("max", "min") and (known := [a for a in args if _is_number(a)]):
            other = args[0] if known[0] is args[1] else args[1]
            return f"{name}_known_f32({other.text}, {known[0].text})"
        return f"{name}_{FUNCTION_SUFFIXES[kind]}({', '.join(texts)})"


def _is_number(term: WgslExpression) -> bool:
    return term.number is not None and not isnan(term.number)


def _wrap_uint8(text: str, kind: str) -> str:
    """What arithmetic on uint8 leaves, back in 0..255."""
    return f"({text} & 255u)" if kind == "u" else text


# ── the library ───────────────────────────────────────────────────────────────────────────────


_ITEM = re.compile(r"^(?:fn|struct|var<private>) (\w+)(?:[^\n]*[;}]\n|.*?^}\n)", re.M | re.S)


@cache
def _library() -> dict[str, str]:
    """The declarations of functions.wgsl by name; each is a line or ends at the margin."""
    text = (files(__package__) / "functions.wgsl").read_text(encoding="utf-8")
    return {found[1]: found[0] for found in _ITEM.finditer(text)}


@cache
def _uses(name: str) -> frozenset[str]:
    """The declarations that one needs, itself among them."""
    words = set(re.findall(r"\w+", _library()[name])) & set(_library()) - {name}
    return frozenset({name}).union(*map(_uses, words))


def library_source_for(code: str) -> str:
    """What the code uses of functions.wgsl."""
    words = set(re.findall(r"\w+", code)) & set(_library())
    needed = frozenset().union(*map(_uses, words))
    return "".join(text for name, text in _library().items() if name in needed)
