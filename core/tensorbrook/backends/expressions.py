"""The traversal of scalar expressions that code generators share.

wasm/expression_codegen.py compiles expressions to instructions, webgpu/expression_codegen.py to
WGSL. ir/scalar_expression.py defines the notation.
"""
from math import copysign, inf
from struct import pack
from typing import Generic, TypeVar

from ..ir.scalar_expression import ARITHMETIC, BITWISE, COMPARISONS, SHIFTS, Literal, Name, Node

V = TypeVar("V")                         # a code generator's representation of a value


def float32(x: float) -> bytes:
    """Return the bytes of the nearest float32; it is infinite beyond the largest finite one."""
    try:
        return pack("<f", x)
    except OverflowError:
        return pack("<f", copysign(inf, x))


class ExpressionVisitor(Generic[V]):
    """Visits an expression bottom-up; the other methods compile one operation each."""

    def visit(self, node: Node, names: dict[str, V], expected_kind: str) -> V:
        """Compile an expression; `expected_kind` is the kind of literals without a typed operand
        beside them."""
        if isinstance(node, Literal):
            return self.literal(node.value)
        if isinstance(node, Name):
            return names[node.name]
        args = [self.visit(operand, names, expected_kind) for operand in node.operands]
        op = node.op
        if op in ARITHMETIC or op in BITWISE or op in SHIFTS:
            x, y = args
            return self.binary(op, x, y, expected_kind)
        if op in COMPARISONS:
            x, y = args
            return self.compare(op, x, y)
        if op in ("neg", "not"):
            x, = args
            return self.unary(op, x)
        if "." in op:
            shape, name = op.split(".")
            return self.intrinsic(shape, name, args)
        return self.call(op, args, expected_kind)

    def literal(self, value: float) -> V:
        """A literal, which has no kind until it is combined with a typed operand."""
        raise NotImplementedError

    def unary(self, op: str, x: V) -> V:
        raise NotImplementedError

    def binary(self, op: str, x: V, y: V, expected_kind: str) -> V:
        raise NotImplementedError

    def compare(self, op: str, x: V, y: V) -> V:
        raise NotImplementedError

    def call(self, name: str, args: list[V], expected_kind: str) -> V:
        raise NotImplementedError

    def intrinsic(self, shape: str, name: str, args: list[V]) -> V:
        """A machine instruction by name, on targets that have such instructions."""
        raise AssertionError(f"{shape}.{name} is not an instruction of this target")
