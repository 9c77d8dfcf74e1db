"""Instruction graph: the values of one kernel as interned SIMD instructions, and their locals.

A node's level says which loops it depends on: level 0 on none, level i on loop i - 1 and possibly
on loops around that one. `is_varying` says whether its lanes belong to different elements.
"""
from .assembler import OPCODES
from .expression_codegen import CompiledExpression

_ADD, _MUL, _MADD = (OPCODES[f"f32x4.{name}"] for name in ("add", "mul", "relaxed_madd"))
MAX_STACK_DEPTH = 24                    # nodes on the stack before one is put into a local


class InstructionGraph:
    """Nodes are indices in topological order: every argument precedes its uses."""

    def __init__(self, relaxed: bool):
        self.relaxed = relaxed
        self.code: list = []                     # the bytes of an instruction, or a leaf
        self.args: list[tuple[int, ...]] = []
        self.level: list[int] = []
        self.is_varying: list[bool] = []
        self.after_pass: list[int] = []          # how many passes must be complete before it
        self.interned: dict = {}

    def add_leaf(self, leaf, level: int, is_varying: bool, after_pass: int = 0) -> int:
        """Add a node that reads memory or a local; equal leaves are one node."""
        return self._node(leaf, (), level, is_varying, after_pass)

    def add_op(self, code: bytes, args: tuple[int, ...] = ()) -> int:
        existing = self.interned.get((code, args))
        if existing is not None:
            return existing
        if self.relaxed and code == _ADD:
            code, args = self.fuse_multiply_add(args)
        return self._node(code, args, max((self.level[a] for a in args), default=0),
                          any(self.is_varying[a] for a in args),
                          max((self.after_pass[a] for a in args), default=0))

    def fuse_multiply_add(self, args: tuple[int, ...]) -> tuple[bytes, tuple[int, ...]]:
        """Return a multiply-add for a sum that contains a product, else the sum. A product that is
        invariant in the innermost loop of the sum stays separate and is hoisted."""
        for x, y in (args, args[::-1]):
            if self.code[x] == _MUL and self.level[x] >= self.level[y]:
                return _MADD, (*self.args[x], y)
        return _ADD, args

    def apply(self, expression: CompiledExpression, args: tuple[int, ...]) -> int:
        """Add the instructions of an expression; returns the node of its result."""
        values = list(args)
        for code, operands in expression.code:
            values.append(self.add_op(code, tuple(values[i] for i in operands)))
        return values[expression.result]

    def _node(self, code, args, level, is_varying, after_pass) -> int:
        key = code, args
        if key not in self.interned:
            self.interned[key] = len(self.code)
            self.code.append(code)
            self.args.append(args)
            self.level.append(level)
            self.is_varying.append(is_varying)
            self.after_pass.append(after_pass)
        return self.interned[key]


def reachable(graph: InstructionGraph, roots: list[int]) -> list[int]:
    """Return the nodes that `roots` depend on and the roots, in topological order."""
    needed = set(roots)
    for node in range(len(graph.code) - 1, -1, -1):
        if node in needed:
            needed.update(graph.args[node])
    return sorted(needed)


def choose_locals(
    graph: InstructionGraph, nodes: list[int], roots: dict[int, int], keep: set[int]
) -> set[int]:
    """Return the nodes to store in a local: the nodes in `keep` and all nodes with several uses, a
    use in a deeper loop, a use by several copies of an unrolled body, or a deep operand tree.
    `roots` are the nodes used outside the graph with the level of their use."""
    # Constants too: V8 materializes a constant at each use. exp of 1 M floats in Chromium took
    # 0.89 ms with the constants inside the loop and takes 0.64 with them in locals.
    uses, chosen, height = dict.fromkeys(nodes, 0), set(keep), {}
    for node, level in roots.items():
        uses[node] += 1
        if level > graph.level[node]:
            chosen.add(node)
    for node in nodes:
        for arg in graph.args[node]:
            uses[arg] += 1
            is_hoisted = graph.level[arg] < graph.level[node]
            if is_hoisted or graph.is_varying[arg] != graph.is_varying[node]:
                chosen.add(arg)
    for node in nodes:
        height[node] = 1 + max((height[a] for a in graph.args[node]), default=0)
        if uses[node] > 1 or height[node] > MAX_STACK_DEPTH:
            chosen.add(node)
        if node in chosen:
            height[node] = 0
    return chosen
