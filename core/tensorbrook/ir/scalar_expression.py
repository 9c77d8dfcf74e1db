"""Scalar expressions: the arithmetic of an elementwise primitive for one element, parsed once.

The notation is Python's: `select(x > 0, x, y * 0.5)`. Operators, comparisons and literals mean
the same as in Python, and a literal takes the dtype of the other operand. Operands are
named x, y, z in the order of the primitive's arguments. Backends print the tree as instructions or
as WGSL; the compiler uses the properties below.
"""
from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from math import inf, nan
from typing import Union


@dataclass(frozen=True)
class Name:
    """An operand (x, y, z), or a local of a library function."""

    name: str


@dataclass(frozen=True)
class Literal:
    """A literal in the expression, which takes the dtype of the other operand."""

    value: float


@dataclass(frozen=True)
class Operation:
    """An operator, a comparison or a function applied to operands.

    Operators have names: `x + y` is `add`, `-x` is `neg`, `x // y` is the function `floordiv`. A
    dotted name such as `f32x4.sqrt` is an instruction of a target.
    """

    op: str
    operands: tuple[Node, ...]


Node = Union[Name, Literal, Operation]

_OPERATORS: dict[type, str] = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.FloorDiv: "floordiv",
    ast.Mod: "mod", ast.Pow: "pow", ast.BitAnd: "and", ast.BitOr: "or", ast.BitXor: "xor",
    ast.LShift: "shl", ast.RShift: "shr", ast.Eq: "eq", ast.NotEq: "ne", ast.Lt: "lt",
    ast.Gt: "gt", ast.LtE: "le", ast.GtE: "ge", ast.USub: "neg", ast.Invert: "not"}
ARITHMETIC = ("add", "sub", "mul", "div")
BITWISE = ("and", "or", "xor")
SHIFTS = ("shl", "shr")
COMPARISONS = ("eq", "ne", "lt", "gt", "le", "ge")

# Operations whose result changes by more than rounding where an operand changes by its last bit.
_DISCONTINUOUS = frozenset({*COMPARISONS, "floor", "ceil", "round", "sign", "floordiv", "mod"})
# Operations whose result is no product that a later addition could be contracted with, given
# operands that are loaded.
_NO_PRODUCT = frozenset({"add", "sub", "neg", "abs", "max", "min", "select", "sqrt"})
# Operations without an addition that a product could be contracted into.
_NO_SUM = frozenset({"mul", "div", "neg", "abs", "max", "min", "select", *COMPARISONS})

# Cost in units of one addition. Of a function: the number of its instructions in
# backends/wasm/math_library.py, which functions.wgsl resembles. A division and a square root are
# one instruction each that takes the time of eight additions.
OPERATION_COST = {
    "div": 8, "sqrt": 8, "floordiv": 9, "mod": 258, "exp": 18, "expm1": 19, "log": 32, "log1p": 41,
    "tanh": 20, "sin": 42, "cos": 40, "erf": 34, "sigmoid": 26, "pow": 114}


def parse(node: ast.expr) -> Node:
    """Convert a Python expression into the tree of a scalar expression."""
    match node:
        case ast.Constant():
            return Literal(node.value)
        case ast.Name(id="inf"):
            return Literal(inf)
        case ast.Name(id="nan"):
            return Literal(nan)
        case ast.Name():
            return Name(node.id)
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _OPERATORS:
            return _unary(_OPERATORS[type(op)], parse(operand))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return Operation(_OPERATORS[type(op)], (parse(left), parse(right)))
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _OPERATORS:
            return Operation(_OPERATORS[type(op)], (parse(left), parse(right)))
        case ast.Call(func=ast.Attribute(value=ast.Name(id=shape), attr=name), args=args):
            return Operation(f"{shape}.{name}", tuple(map(parse, args)))
        case ast.Call(func=ast.Name(id=name), args=args):
            return Operation(name, tuple(map(parse, args)))
    raise AssertionError(f"{ast.unparse(node)} is not part of the expression language")


def _unary(op: str, operand: Node) -> Node:
    """A unary operator; on a literal it is applied at once."""
    if isinstance(operand, Literal):
        return Literal(-operand.value if op == "neg" else ~int(operand.value))
    return Operation(op, (operand,))


class ScalarExpression:
    """A parsed scalar expression. Equal texts give the same object: see `scalar_expression`."""

    def __init__(self, text: str):
        self.text = text
        self.root = parse(ast.parse(text, mode="eval").body)

    def __repr__(self) -> str:
        return f"ScalarExpression({self.text!r})"

    def __str__(self) -> str:
        return self.text

    def operations(self) -> Iterator[Operation]:
        """The operations of the tree, the root first."""
        pending = [self.root]
        while pending:
            node = pending.pop()
            if isinstance(node, Operation):
                yield node
                pending += node.operands

    @cached_property
    def is_identity(self) -> bool:
        """Whether the result is the first operand, unchanged."""
        return self.root == Name("x")

    @cached_property
    def is_cast(self) -> bool:
        """Whether it converts the first operand to the dtype of the result, and nothing else."""
        return self.root == Operation("cast", (Name("x"),))

    @cached_property
    def cost(self) -> int:
        """Estimated cost for one element, in units of one addition; 0 for the identity."""
        return sum(OPERATION_COST.get(node.op, 1) for node in self.operations())

    @cached_property
    def is_discontinuous(self) -> bool:
        """Whether a change of an operand's last bit can change the result by more than rounding."""
        return any(node.op in _DISCONTINUOUS for node in self.operations())

    @cached_property
    def may_be_product(self) -> bool:
        """Whether the result may come from a multiplication, which a consumer's addition could
        contract into one fused multiply-add."""
        root = self.root
        simple = isinstance(root, Operation) and root.op in _NO_PRODUCT and not any(
            isinstance(operand, Operation) for operand in root.operands)
        return not simple

    @cached_property
    def may_contract(self) -> bool:
        """Whether it has an addition into which a product could be contracted (x * y + z rounded
        once), so that its last bit depends on where its operands are computed."""
        return any(node.op not in _NO_SUM for node in self.operations())

    @cached_property
    def is_difference(self) -> bool:
        """Whether it is `x - y`."""
        return self.root == Operation("sub", (Name("x"), Name("y")))


@cache
def scalar_expression(text: str) -> ScalarExpression:
    """The parsed expression of a text, parsed at its first use.

    >>> scalar_expression("select(x > 0, x, y)").is_discontinuous
    True
    """
    return ScalarExpression(text)


IDENTITY = scalar_expression("x")
CAST = scalar_expression("cast(x)")
