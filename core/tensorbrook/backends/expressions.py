"""The language of formulas, the text in primitives: how they are walked, whatever they become.

Names, operators, comparisons and numbers mean what they mean in Python; a number takes the kind of
what it meets. wasm/formulas.py makes instructions of it, webgpu/formulas.py WGSL.
"""
import ast
from functools import cache
from math import copysign, inf, nan
from struct import pack
from typing import Generic, TypeVar

# Operators that are functions by another name.
OPERATOR_FUNCTIONS = {ast.FloorDiv: "floordiv", ast.Mod: "mod", ast.Pow: "pow"}

V = TypeVar("V")                         # what stands for a value


@cache
def parse_expression(formula: str) -> ast.expr:
    return ast.parse(formula, mode="eval").body


def float32(number: float) -> bytes:
    """The bytes of the nearest float32, which is infinite beyond the largest."""
    try:
        return pack("<f", number)
    except OverflowError:
        return pack("<f", copysign(inf, number))


def fold_unary(op: ast.unaryop, number: float) -> float:
    """A unary operator on a number of the text."""
    return -number if isinstance(op, ast.USub) else ~int(number)


class ExpressionVisitor(Generic[V]):
    """Goes through an expression and asks its methods what each piece of it becomes."""

    def visit(self, node: ast.expr, names: dict[str, V], expected_kind: str) -> V:
        """An expression; `wanted` is the kind of numbers that meet nothing else."""
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
                return self.unary(node.op, self.visit(node.operand, names, expected_kind))
            case ast.BinOp():
                pair = self.visit(node.left, names, expected_kind), self.visit(node.right, names, expected_kind)
                return self.binary(node.op, *pair, expected_kind)
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                pair = self.visit(left, names, expected_kind), self.visit(right, names, expected_kind)
                return self.compare(op, *pair)
            case ast.Call(func=ast.Attribute(value=ast.Name(id=shape), attr=name)):
                return self.intrinsic(shape, name, [self.visit(a, names, expected_kind) for a in node.args])
            case ast.Call(func=ast.Name(id=name)):
                return self.call(name, [self.visit(a, names, expected_kind) for a in node.args], expected_kind)
        raise AssertionError(f"{ast.unparse(node)} is not part of the formula language")

    def number(self, number: float) -> V:
        """A number of the text, which has no kind until it meets something."""
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
        """An instruction by its own name, where there are such."""
        raise AssertionError(f"{shape}.{name} is an instruction of another machine")
