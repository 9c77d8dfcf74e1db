"""The scalar expression language: parsing, and the traversal that code generators share.

Primitives contain scalar expressions as text. Names, operators, comparisons and literals have their
meaning in Python; a literal takes the kind of the operand beside it. wasm/expression_codegen.py
compiles expressions to instructions, webgpu/expression_codegen.py to WGSL.
"""
import ast
from functools import cache
from math import copysign, inf, nan
from struct import pack
from typing import Generic, TypeVar

# Operators that are compiled as calls of these functions.
OPERATOR_FUNCTIONS = {ast.FloorDiv: "floordiv", ast.Mod: "mod", ast.Pow: "pow"}

V = TypeVar("V")                         # a code generator's representation of a value


@cache
def parse_expression(expression: str) -> ast.expr:
    return ast.parse(expression, mode="eval").body


def float32(x: float) -> bytes:
    """Return the bytes of the nearest float32; it is infinite beyond the largest finite one."""
    try:
        return pack("<f", x)
    except OverflowError:
        return pack("<f", copysign(inf, x))


def fold_unary(op: ast.unaryop, x: float) -> float:
    """Constant folding: apply a unary operator to a literal."""
    return -x if isinstance(op, ast.USub) else ~int(x)


class ExpressionVisitor(Generic[V]):
    """Visits an expression bottom-up; the other methods compile one operation each."""

    def visit(self, node: ast.expr, names: dict[str, V], expected_kind: str) -> V:
        """Compile an expression; `expected_kind` is the kind of literals without a typed operand
        beside them."""
        def visit(child: ast.expr) -> V:
            return self.visit(child, names, expected_kind)
        match node:
            case ast.Constant():
                return self.number(node.value)
            case ast.Name(id="inf"):
                return self.number(inf)
            case ast.Name(id="nan"):
                return self.number(nan)
            case ast.Name():
                return names[node.id]
            case ast.UnaryOp():
                return self.unary(node.op, visit(node.operand))
            case ast.BinOp():
                return self.binary(node.op, visit(node.left), visit(node.right), expected_kind)
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return self.compare(op, visit(left), visit(right))
            case ast.Call(func=ast.Attribute(value=ast.Name(id=shape), attr=name)):
                return self.intrinsic(shape, name, [visit(a) for a in node.args])
            case ast.Call(func=ast.Name(id=name)):
                return self.call(name, [visit(a) for a in node.args], expected_kind)
        raise AssertionError(f"{ast.unparse(node)} is not a scalar expression")

    def number(self, number: float) -> V:
        """A literal, which has no kind until it is combined with a typed operand."""
        raise NotImplementedError

    def unary(self, op: ast.unaryop, x: V) -> V:
        raise NotImplementedError

    def binary(self, op: ast.operator, x: V, y: V, expected_kind: str) -> V:
        raise NotImplementedError

    def compare(self, op: ast.cmpop, x: V, y: V) -> V:
        raise NotImplementedError

    def call(self, name: str, args: list[V], expected_kind: str) -> V:
        raise NotImplementedError

    def intrinsic(self, shape: str, name: str, args: list[V]) -> V:
        """A machine instruction by name, on targets that have such instructions."""
        raise AssertionError(f"{shape}.{name} is not an instruction of this target")
